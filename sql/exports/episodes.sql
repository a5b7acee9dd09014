-- The episodes that have utterances, with what decides whether a data set may contain them, and where they come from.
select
    spoken.episode_id,
    spoken.audio_sha256,
    spoken.n_utterances,
    spoken.duration_ms,
    episode.feed_id,
    episode.guid,
    episode.enclosure_url,
    episode.published_at,
    episode.title,
    coalesce(episode.authors, feed.authors, if(feed.author is null, [], [feed.author])) as authors,
    feed.title as feed_title,
    coalesce(episode.link, feed.link) as link,
    coalesce(episode.license, if(episode.license_url is null, feed.license, null)) as license,
    coalesce(episode.license_url, if(episode.license is null, feed.license_url, null)) as license_url,
    coalesce(episode.blocked, false) or coalesce(feed.blocked, false) as blocked,
    audio.storage_uri
from (
    select episode_id, audio_sha256, count(*) as n_utterances, sum(end_ms - start_ms)::bigint as duration_ms
    from utterances
    group by episode_id, audio_sha256
) as spoken
join episodes as episode using (episode_id)
left join feeds as feed using (feed_id)
left join acquisitions as audio
    on audio.episode_id = spoken.episode_id and audio.audio_sha256 = spoken.audio_sha256
where (len($feeds) = 0 or list_contains($feeds, episode.feed_id))
    and (len($episodes) = 0 or list_contains($episodes, spoken.episode_id))
order by spoken.episode_id, spoken.audio_sha256;
