-- Every turn of a podcast is said, at no more than 40 letters a second.
-- asset: speech_lines
-- severity: error
select t.podcast_id as partition, format('turn {} has {} ms for {} letters', t.turn_idx, coalesce(l.duration_ms, 0), length(t.spoken_text)) as detail
from script_turns t
left join speech_lines l using (podcast_id, turn_idx)
where t.podcast_id in (select podcast_id from speech_lines)
  and coalesce(l.duration_ms, 0) < length(regexp_replace(regexp_replace(t.spoken_text, '<\|\w+\|>', '', 'g'), '[^\p{L}\p{N}]', '', 'g')) * 25
