-- Which episodes are the same audio: the same bytes, the same samples in other bytes, or the same by ear?
-- Each group appears once, with the strictest comparison that all of it passes.
select 'same bytes' as sameness, count(*) as episodes, list(episode_id order by episode_id) as episode_ids
from hashes
group by sha256
having count(*) > 1
union all
select 'same samples', count(*), list(episode_id order by episode_id)
from hashes
group by pcm16k_sha256
having count(distinct sha256) > 1
union all
select 'same fingerprint', count(*), list(episode_id order by episode_id)
from hashes
where chromaprint is not null
group by chromaprint
having count(distinct pcm16k_sha256) > 1
order by episodes desc, episode_ids;
