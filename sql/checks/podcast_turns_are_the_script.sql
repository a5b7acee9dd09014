-- The turns of a script, joined, are the script again.
-- asset: script
-- severity: error
with joined as (
    select podcast_id, string_agg('[' || speaker || ']' || text, '' order by turn_idx) as text
    from script_turns group by podcast_id
)
select s.podcast_id as partition, format('{} characters of turns, {} of the script', length(j.text), length(s.script)) as detail
from scripts s left join joined j using (podcast_id)
where regexp_replace(coalesce(j.text, ''), '\s+', '', 'g') != regexp_replace(s.script, '\s+', '', 'g')
