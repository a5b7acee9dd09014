-- People speak 40 to 350 words a minute.
-- asset: quality
-- severity: warn
select episode_id as partition, format('{:.0f} words a minute of speech', words_per_minute) as detail
from quality where speech_ms > 60000 and (words_per_minute < 40 or words_per_minute > 350)
