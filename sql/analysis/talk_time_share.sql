-- Who has the word, episode by episode: each speaker's minutes and share of all talk?
select
    talk.episode_id,
    episode.title,
    talk.speaker,
    round(talk.speech_ms / 60000, 2) as speech_minutes,
    round(100 * talk.share, 1) as percent,
    talk.n_turns
from talk_time as talk
left join episodes as episode using (episode_id)
order by talk.episode_id, percent desc, talk.speaker;
