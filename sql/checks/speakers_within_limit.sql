-- The diarizer found fewer speakers than it can tell apart.
-- asset: quality
-- severity: warn
select episode_id as partition, format('{} speakers, the limit of the diarizer', n_speakers) as detail
from quality where speakers_saturated
