-- The rows of a data set in their order. A shard begins when the one before has `$shard_ms` of audio.
select
    who.split,
    ((sum(duration_ms) over (
        partition by who.split order by episode_id, utterance_idx rows unbounded preceding
    ) - duration_ms) // $shard_ms)::integer as shard,
    chosen.storage_uri,
    concat(episode_id, '_', format('{:05d}', utterance_idx)) as id,
    text,
    language,
    who.name as speaker,
    speaker_name,
    duration_ms,
    utterance.feed_id,
    episode_id,
    utterance.license,
    audio_sha256,
    start_ms,
    end_ms,
    $measures
from export_utterances as utterance
join export_speakers as who using (global_speaker)
join export_episodes as chosen using (episode_id, audio_sha256)
where keep
order by list_position(['train', 'validation', 'test'], who.split), episode_id, utterance_idx;
