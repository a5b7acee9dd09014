-- Every utterance, with the speaker's voice and its name. Voices are linked later, per feed, and can be corrected: so the rows do not have them.
create or replace view utterances as
select utterance.* replace (link.voice_id as voice_id), link.name as voice_name
from lake.utterances as utterance
left join speaker_links as link
    on link.episode_id = utterance.episode_id
    and link.audio_sha256 = utterance.audio_sha256
    and link.speaker = utterance.speaker
    -- Voices of another diarization's speakers do not count. Rows of older lakes do not name the landing.
    and coalesce(utterance.diarization_version = link.diarization_version, true);
