-- Where is there no speech for more than five seconds: jingles, music, dead air?
with silences as (
    select
        episode_id,
        audio_sha256,
        coalesce(max(end_ms) over before, 0) as from_ms,
        start_ms as to_ms
    from segments
    window before as (
        partition by episode_id, audio_sha256 order by start_ms, segment_idx
        rows between unbounded preceding and 1 preceding
    )
)
select
    episode_id,
    format('{:02d}:{:02d}', from_ms // 60000, from_ms // 1000 % 60) as clock,
    round((to_ms - from_ms) / 1000, 1) as seconds
from silences
where to_ms - from_ms > 5000
order by seconds desc, episode_id, from_ms;
