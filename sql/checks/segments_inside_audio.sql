-- Every segment begins after 0, ends after its start, and inside the audio.
-- asset: diarization
-- severity: error
select segment.episode_id as partition, format('segment {} from {} to {} ms', segment_idx, start_ms, end_ms) as detail
from segments as segment
left join hashes on hashes.episode_id = segment.episode_id and hashes.audio_sha256 = segment.audio_sha256
where start_ms < 0 or end_ms <= start_ms or end_ms > hashes.duration_ms + 1000
