-- How much of each utterance is repeated audio of its feed, and whether its episode is a copy of another: what data sets leave out.
create or replace view utterance_repeats as
select
    utterance.episode_id,
    utterance.audio_sha256,
    utterance.utterance_idx,
    least(1.0, coalesce(sum(
        least(utterance.end_ms, repeated.end_ms) - greatest(utterance.start_ms, repeated.start_ms)
    ) filter (where repeated.repeat_id is not null), 0) / nullif(utterance.end_ms - utterance.start_ms, 0)) as repeated_share,
    coalesce(max(repeated.n_episodes), 0) as repeated_in_episodes,
    any_value(same.original_episode_id) as copy_of
from utterances as utterance
left join repeated_audio as repeated
    on repeated.episode_id = utterance.episode_id
    and repeated.audio_sha256 = utterance.audio_sha256
    and repeated.start_ms < utterance.end_ms
    and repeated.end_ms > utterance.start_ms
left join same_audio as same
    on same.episode_id = utterance.episode_id and same.audio_sha256 = utterance.audio_sha256
group by utterance.episode_id, utterance.audio_sha256, utterance.utterance_idx, utterance.start_ms, utterance.end_ms;
