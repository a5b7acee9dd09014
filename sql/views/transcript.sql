-- The transcript to read: a line per turn, such as `[01:05] speaker_0: Good morning.`
create or replace view transcript as
select
    episode_id,
    audio_sha256,
    turn_idx,
    start_ms,
    end_ms,
    format('{:02d}:{:02d}', start_ms // 60000, start_ms // 1000 % 60) as clock,
    speaker,
    text,
    format('[{}] {}: {}', clock, coalesce(speaker, '(nobody)'), text) as line
from turns;
