-- Who asks and who answers: turns that end with a question mark, and how many words the next speaker gives in reply?
-- Only transcribers that write punctuation can tell.
with following as (
    select
        *,
        lead(speaker) over following_turn as answerer,
        lead(n_words) over following_turn as answer_words
    from turns
    window following_turn as (partition by episode_id, audio_sha256 order by turn_idx)
)
select
    episode_id,
    speaker as asker,
    answerer,
    count(*) as questions,
    round(avg(answer_words), 1) as words_per_answer
from following
where regexp_matches(text, '[?？]["”’]?$') and speaker <> answerer
group by all
order by questions desc, episode_id, asker, answerer;
