-- Every word that is spoken in repeated audio (an ad, a jingle, an intro), and in how many episodes of its feed that occurs.
create or replace view repeated_words as
select
    word.episode_id,
    word.audio_sha256,
    word.word_idx,
    word.word,
    word.start_ms,
    word.end_ms,
    repeated.repeat_id,
    repeated.n_episodes,
    repeated.n_occurrences
from words as word
join repeated_audio as repeated
    on repeated.episode_id = word.episode_id
    and repeated.audio_sha256 = word.audio_sha256
    and (word.start_ms + word.end_ms) // 2 >= repeated.start_ms
    and (word.start_ms + word.end_ms) // 2 < repeated.end_ms
qualify row_number() over (
    partition by word.episode_id, word.audio_sha256, word.word_idx order by repeated.n_episodes desc, repeated.start_ms
) = 1;
