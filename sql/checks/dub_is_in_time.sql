-- No line of a dub is faster than 1.4 times, no chunk exceeds its time by more than 0.6 s, and each begins with its source.
-- asset: dub_audio
-- severity: error
select lesson_id as partition, format('speed {:.2f}, {} ms too long', highest_speed, longest_overflow_ms) as detail
from dub_audio where highest_speed > 1.4001 or longest_overflow_ms > 600
union all
select lesson_id, format('chunk {} begins {} ms late', chunk_idx, min(delay_ms))
from dub_times group by lesson_id, chunk_idx having min(delay_ms) != 0
