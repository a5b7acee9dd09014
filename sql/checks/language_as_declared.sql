-- The text is in the language that the feed declares.
-- asset: quality
-- severity: warn
select episode_id as partition, format('declared {}, detected {}', quality.language_declared, language_detected) as detail
from quality where not language_agrees
