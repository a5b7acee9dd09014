-- Which ads, jingles and intros recur in each feed: how long, in how many episodes, where, and what is said?
with said as (
    select repeated.repeat_id, repeated.episode_id, repeated.start_ms,
        left(string_agg(word.word, ' ' order by word.word_idx), 80) as text
    from repeated_audio as repeated
    left join repeated_words as word
        on word.episode_id = repeated.episode_id and word.audio_sha256 = repeated.audio_sha256
        and word.repeat_id = repeated.repeat_id
        and word.start_ms >= repeated.start_ms - 1000 and word.end_ms <= repeated.end_ms + 1000
    group by all
)
select
    repeated.feed_id,
    repeated.repeat_id,
    any_value(repeated.n_episodes) as n_episodes,
    any_value(repeated.n_occurrences) as n_occurrences,
    round(median(repeated.end_ms - repeated.start_ms) / 1000, 1) as seconds,
    round(median(repeated.start_ms) / 1000, 1) as usual_start_s,
    min(said.text) as text
from repeated_audio as repeated
left join said using (repeat_id, episode_id, start_ms)
group by repeated.feed_id, repeated.repeat_id
order by n_episodes desc, repeated.repeat_id;
