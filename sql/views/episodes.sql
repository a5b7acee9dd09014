-- The catalogue: every episode that a feed has ever listed, with its Dagster partition key.
create or replace view episodes as
select episode_id, episode_id as partition_key, * exclude (episode_id)
from lake.episodes;
