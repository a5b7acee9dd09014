-- Every word with its speaker: who said it, by which rule we know, in which turn. NULL until `turns` has landed.
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
    who.rule,
    who.in_overlap,
    who.turn_idx
from words as word
left join word_speakers as who using (episode_id, audio_sha256, word_idx);
