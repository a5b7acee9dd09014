-- Our transcriber understands at least 85 % of the words of a generated podcast.
-- asset: podcast_hearing
-- severity: warn
select podcast_id as partition, format('{:.0f} % of {} words differ: {}', 100 * word_error_rate, n_script_words, left(heard_text, 100)) as detail
from podcast_hearings where word_error_rate > 0.15
