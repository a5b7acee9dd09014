-- A dubbed video lasts as long as its source, within half a second.
-- asset: dubbed_video
-- severity: error
select lesson_id as partition, format('{:.1f} s instead of {:.1f} s', duration_ms / 1000, source_ms / 1000) as detail
from dubbed_videos where abs(duration_ms - source_ms) > 500
