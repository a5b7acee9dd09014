-- The utterances of the episodes in `export_episodes`, whether the profile keeps them, and who speaks: the voice, or
-- episode and label of a speaker without one. Without a profile all are kept.
create or replace temp table export_utterances as
select
    utterance.*,
    chosen.feed_id,
    chosen.license,
    link.name as speaker_name,
    coalesce(link.voice_id, utterance.voice_id) as voice,
    coalesce(voice, concat(utterance.episode_id, '/', utterance.speaker)) as global_speaker,
    concat(utterance.audio_sha256, '/', utterance.speaker) as audio_speaker,
    utterance.end_ms - utterance.start_ms as duration_ms,
    profile.drop_reasons,
    coalesce(profile.keep, true) as keep
from utterances as utterance
join export_episodes as chosen
    on chosen.episode_id = utterance.episode_id and chosen.audio_sha256 = utterance.audio_sha256
left join turns as turn
    on turn.episode_id = utterance.episode_id
    and turn.audio_sha256 = utterance.audio_sha256
    and turn.turn_idx = utterance.turn_idx
left join speaker_links as link
    on link.episode_id = utterance.episode_id
    and link.audio_sha256 = utterance.audio_sha256
    and link.speaker = utterance.speaker
    -- The voice of another diarization's speaker does not count.
    and coalesce(turn.diarization_version = link.diarization_version, true)
left join utterance_profiles as profile
    on profile.profile = $profile
    and profile.episode_id = utterance.episode_id
    and profile.audio_sha256 = utterance.audio_sha256
    and profile.utterance_idx = utterance.utterance_idx;
