-- The feeds: what is subscribed to, and what each said of itself at its last poll.
create or replace view feeds as
select
    subscription.feed_id,
    subscription.url,
    poll.canonical_url,
    poll.podcast_guid,
    coalesce(poll.title, subscription.title) as title,
    poll.author,
    coalesce(subscription.language, poll.language) as language,
    poll.categories,
    poll.license,
    poll.etag,
    poll.last_modified,
    coalesce(unchanged.http_status, poll.http_status) as http_status,
    coalesce(unchanged.polled_at, poll.last_polled_at) as last_polled_at,
    poll.n_episodes,
    poll.problems,
    poll.description_text,
    poll.link,
    poll.image_url,
    poll.explicit,
    poll.authors,
    poll.persons,
    poll.license_url,
    poll.blocked,
    poll.locked,
    poll.kind,
    poll.funding,
    poll.value,
    subscription.added_at
from lake.subscriptions as subscription
left join lake.polls as poll using (feed_id)
left join lake.unchanged_polls as unchanged
    on unchanged.feed_id = subscription.feed_id and unchanged.polled_at > poll.last_polled_at;
