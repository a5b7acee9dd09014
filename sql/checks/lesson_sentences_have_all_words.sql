-- Every word of a lesson is in one sentence.
-- asset: sentences
-- severity: error
select lesson_id as partition, format('sentence {} begins with word {}, not {}', sentence_idx, first_word_idx, expected) as detail
from (
    select lesson_id, sentence_idx, first_word_idx,
        coalesce(sum(n_words) over (partition by lesson_id order by sentence_idx rows between unbounded preceding and 1 preceding), 0) as expected
    from lesson_sentences
)
where first_word_idx != expected
