-- Our transcriber understands at least 75 % of the words of a dub.
-- asset: dub_hearing
-- severity: warn
select lesson_id as partition, format('{:.0f} % of {} words differ: {}', 100 * word_error_rate, n_words, left(heard_text, 100)) as detail
from dub_hearings where word_error_rate > 0.25
