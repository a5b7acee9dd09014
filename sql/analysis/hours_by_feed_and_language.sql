-- How many hours do we have, by feed and language, and how many of them are usable for training?
select
    episode.feed_id,
    coalesce(quality.language_detected, quality.language_declared) as language,
    count(*) as episodes,
    round(sum(quality.duration_ms) / 3.6e6, 2) as audio_hours,
    round(sum(quality.speech_ms) / 3.6e6, 2) as speech_hours,
    round(sum(quality.usable_ms) / 3.6e6, 2) as usable_hours
from quality
join episodes as episode using (episode_id)
group by all
order by audio_hours desc, feed_id, language;
