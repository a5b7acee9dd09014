-- How fast does each speaker talk, in words per minute of their own speech? Speakers with less than 10 s are left out.
select
    episode_id,
    speaker,
    n_words,
    round(60000 * n_words / speech_ms, 1) as words_per_minute
from talk_time
where speech_ms >= 10000
order by words_per_minute desc, episode_id, speaker;
