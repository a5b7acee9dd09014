-- Every word with its speaker, the voice and its name if there is one, the rule that chose the speaker, and the turn. NULL until `turns` has landed for these words.
create or replace view spoken_words as
select
    word.episode_id,
    word.audio_sha256,
    word.word_idx,
    word.word,
    word.start_ms,
    word.end_ms,
    word.confidence,
    word.language,
    who.speaker,
    link.voice_id,
    link.name,
    who.rule,
    who.in_overlap,
    who.turn_idx
from words as word
left join word_speakers as who
    on who.episode_id = word.episode_id
    and who.audio_sha256 = word.audio_sha256
    and who.word_idx = word.word_idx
    -- Speakers of another landing's words do not count. Rows of older lakes do not name the landing.
    and coalesce(who.transcript_version = word.data_version, true)
left join speaker_links as link
    on link.episode_id = who.episode_id
    and link.audio_sha256 = who.audio_sha256
    and link.speaker = who.speaker
    -- Nor do names of another diarization's speakers.
    and coalesce(who.diarization_version = link.diarization_version, true);
