-- No line of a dub is silent, cut, or the same sound for another text.
-- asset: dub_lines
-- severity: error
select lesson_id as partition, format('line {} has {} ms for {} letters', sentence_idx, duration_ms, length(spoken_text)) as detail
from dub_lines
where duration_ms < length(regexp_replace(spoken_text, '[^\p{L}\p{N}]', '', 'g')) * 25
union all
select lesson_id, format('{} texts have the same sound: {}', count(distinct letters), left(min(spoken_text), 60))
from (select *, lower(regexp_replace(spoken_text, '[^\p{L}\p{N}]', '', 'g')) as letters from dub_lines)
group by lesson_id, samples_sha256 having count(distinct letters) > 1
