-- How sure are we who said what: by which rule did the words get their speakers?
select
    episode_id,
    rule,
    count(*) as words,
    round(100 * count(*) / sum(count(*)) over (partition by episode_id), 1) as percent,
    count(*) filter (in_overlap) as in_overlap
from word_speakers
group by episode_id, rule
order by episode_id, words desc, rule;
