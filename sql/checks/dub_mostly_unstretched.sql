-- At least 80 % of the lines of a dub are as fast as the voice said them.
-- asset: dub_audio
-- severity: warn
select lesson_id as partition, format('{:.0f} % of the lines are not stretched', 100 * unstretched_share) as detail
from dub_audio where unstretched_share < 0.8
