-- What is failing, where, and will it mend itself?
select
    stage,
    error_class,
    retryable,
    count(*) as failing,
    count(distinct feed_id) as feeds,
    max(attempts) as most_attempts,
    min(first_at) as since,
    min(next_retry_at) as next_retry_at,
    arg_max(message, last_at) as latest_message
from failures
group by all
order by failing desc, stage, error_class;
