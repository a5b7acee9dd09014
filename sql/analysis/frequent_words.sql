-- Which words does each speaker use most? The ten most frequent of five letters or more, to pass by `the` and `that`.
select
    episode_id,
    speaker,
    lower(regexp_extract(word, '[\p{L}''’-]+')) as said,
    count(*) as times
from spoken_words
where speaker is not null and length(said) >= 5
group by episode_id, speaker, said
qualify row_number() over (partition by episode_id, speaker order by times desc, said) <= 10
order by episode_id, speaker, times desc, said;
