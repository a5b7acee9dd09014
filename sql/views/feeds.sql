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
    poll.http_status,
    poll.last_polled_at,
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
left join lake.polls as poll using (feed_id);
