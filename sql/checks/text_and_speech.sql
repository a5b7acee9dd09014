-- Where somebody speaks there is text, and where there is text somebody speaks.
-- asset: quality
-- severity: warn
select episode_id as partition, format('{} words in {:.0f} s of speech', n_words, speech_ms / 1000) as detail
from quality where (n_words = 0 and speech_ms > 10000) or (n_words > 10 and speech_ms = 0)
