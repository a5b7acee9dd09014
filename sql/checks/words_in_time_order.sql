-- Every word begins after 0, ends after its start, and inside the audio.
-- asset: transcript
-- severity: error
select word.episode_id as partition, format('word {} from {} to {} ms', word_idx, start_ms, end_ms) as detail
from words as word
left join hashes on hashes.episode_id = word.episode_id and hashes.audio_sha256 = word.audio_sha256
where start_ms < 0 or end_ms < start_ms or end_ms > hashes.duration_ms + 1000
