-- A feed publishes in a week no more than four times, and no less than a quarter of, its usual hours.
-- asset: episodes
-- severity: warn
with
weeks as (
    select feed_id, date_trunc('week', published_at) as week, sum(duration_declared_ms) / 3.6e6 as hours
    from episodes where duration_declared_ms > 0 and published_at > now() - interval 180 day group by all
),
usual as (
    select feed_id, median(hours) as hours, count(*) as n_weeks
    from weeks where week < date_trunc('week', now()) - interval 7 day group by feed_id
)
select usual.feed_id as partition,
    format('{:.1f} hours last week, usually {:.1f}', coalesce(weeks.hours, 0), usual.hours) as detail
from usual
left join weeks on weeks.feed_id = usual.feed_id and weeks.week = date_trunc('week', now()) - interval 7 day
where usual.n_weeks >= 8 and (coalesce(weeks.hours, 0) > 4 * usual.hours or coalesce(weeks.hours, 0) < usual.hours / 4)
