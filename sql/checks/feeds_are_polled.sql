-- Every feed was polled successfully in the last three days.
-- asset: episodes
-- severity: error
select feed_id as partition, coalesce('last polled ' || strftime(last_polled_at, '%Y-%m-%d %H:%M'), 'never polled') as detail
from feeds
where feed_id <> 'singles' and added_at < now() - interval 3 day
    and (last_polled_at is null or last_polled_at < now() - interval 3 day)
