-- Who talks over whom: how often does one begin while another is speaking, and how often is the word taken over?
-- Uses the segments, which can overlap; the words of one transcriber cannot.
with talking as (
    -- A row per minute that a segment touches: what begins in a minute is compared with that minute only.
    select *, unnest(range(start_ms // 60000, end_ms // 60000 + 1)) as minute
    from segments
)
select
    later.episode_id,
    later.speaker as interrupter,
    earlier.speaker as interrupted,
    count(*) as times,
    count(*) filter (later.end_ms > earlier.end_ms) as took_over,
    sum(least(later.end_ms, earlier.end_ms) - later.start_ms)::bigint as overlap_ms
from segments as later
join talking as earlier
    on later.episode_id = earlier.episode_id
    and later.audio_sha256 = earlier.audio_sha256
    and later.start_ms // 60000 = earlier.minute
    and later.speaker <> earlier.speaker
    and later.start_ms > earlier.start_ms
    and later.start_ms < earlier.end_ms
group by all
order by times desc, overlap_ms desc, episode_id, interrupter, interrupted;
