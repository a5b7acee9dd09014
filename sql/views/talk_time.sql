-- How much each speaker talks: time from the segments, words and turns from the text, share of all talk in the episode.
create or replace view talk_time as
with
talked as (
    select episode_id, audio_sha256, data_version, speaker, sum(end_ms - start_ms)::bigint as speech_ms
    from segments
    group by all
),
said as (
    select episode_id, audio_sha256, diarization_version, speaker, sum(n_words)::bigint as n_words, count(*) as n_turns
    from turns
    group by all
)
select
    talked.episode_id,
    talked.audio_sha256,
    talked.speaker,
    talked.speech_ms,
    coalesce(said.n_words, 0) as n_words,
    coalesce(said.n_turns, 0) as n_turns,
    talked.speech_ms / nullif(sum(talked.speech_ms) over (partition by talked.episode_id, talked.audio_sha256), 0) as share
from talked
left join said
    on said.episode_id = talked.episode_id
    and said.audio_sha256 = talked.audio_sha256
    and said.speaker = talked.speaker
    -- Turns made from another landing's segments do not count. Rows of older lakes do not name the landing.
    and coalesce(said.diarization_version = talked.data_version, true);
