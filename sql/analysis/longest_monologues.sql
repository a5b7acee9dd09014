-- What are the longest stretches that one person talks without a break?
select
    turn.episode_id,
    episode.title,
    turn.speaker,
    format('{:02d}:{:02d}', turn.start_ms // 60000, turn.start_ms // 1000 % 60) as clock,
    round((turn.end_ms - turn.start_ms) / 1000, 1) as seconds,
    turn.n_words,
    left(turn.text, 80) as begins
from turns as turn
left join episodes as episode using (episode_id)
where turn.speaker is not null
order by seconds desc, turn.episode_id, turn.turn_idx
limit 20;
