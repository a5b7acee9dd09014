-- The transcript to read: a line per turn, such as `[01:05] speaker_0: Good morning.`, with the speaker's name if it has one.
create or replace view transcript as
select
    turn.episode_id,
    turn.audio_sha256,
    turn.turn_idx,
    turn.start_ms,
    turn.end_ms,
    format('{:02d}:{:02d}', turn.start_ms // 60000, turn.start_ms // 1000 % 60) as clock,
    turn.speaker,
    turn.text,
    format('[{}] {}: {}', clock, coalesce(link.name, turn.speaker, '(no speaker)'), turn.text) as line,
    link.voice_id,
    link.name
from turns as turn
left join speaker_links as link
    on link.episode_id = turn.episode_id
    and link.audio_sha256 = turn.audio_sha256
    and link.speaker = turn.speaker
    -- Names of another diarization's speakers do not count.
    and coalesce(turn.diarization_version = link.diarization_version, true);
