-- The decoded audio is as long as the feed declares: inserted advertisements make it longer.
-- asset: quality
-- severity: warn
select episode_id as partition, format('{:.0f} s decoded, {:.0f} s declared', duration_ms / 1000, duration_declared_ms / 1000) as detail
from quality join episodes using (episode_id)
where list_contains(flags, 'duration_differs')
