-- The state of every episode, a row each: landed stages, results and failures.
create or replace view episode_overview as
with
first_landed as (
    select episode_id, stage, min(finished_at) as finished_at
    from stage_runs
    where outcome = 'landed'
    group by episode_id, stage
),
landed as (
    select episode_id, list(stage order by finished_at, stage) as stages
    from first_landed
    group by episode_id
),
failed as (
    select episode_id, list(stage || ': ' || error_class order by stage) as failures
    from failures
    group by episode_id
)
select
    episode.episode_id,
    episode.feed_id,
    feed.title as feed_title,
    episode.title,
    episode.published_at,
    coalesce(quality.language_detected, episode.language) as language,
    coalesce(quality.duration_ms, hashes.duration_ms, episode.duration_declared_ms) as duration_ms,
    coalesce(landed.stages, []) as stages,
    quality.n_words,
    quality.n_speakers,
    quality.flags,
    coalesce(failed.failures, []) as failures
from episodes as episode
left join feeds as feed using (feed_id)
left join (
    from acquisitions qualify row_number() over (partition by episode_id order by fetched_at desc) = 1
) as audio using (episode_id)
left join hashes on hashes.episode_id = episode.episode_id and hashes.audio_sha256 = audio.audio_sha256
left join quality on quality.episode_id = episode.episode_id and quality.audio_sha256 = audio.audio_sha256
left join landed on landed.episode_id = episode.episode_id
left join failed on failed.episode_id = episode.episode_id;
