-- Every word is in exactly one turn.
-- asset: turns
-- severity: error
with
assigned as (
    select episode_id, audio_sha256, transcript_version, count(*) as n, count(distinct word_idx) as n_different
    from word_speakers group by all
),
written as (select episode_id, audio_sha256, data_version, count(*) as n from words group by all),
in_turns as (select episode_id, audio_sha256, sum(n_words) as n from turns group by all)
select assigned.episode_id as partition,
    format('{} words, {} with a speaker''s row, {} in turns', written.n, assigned.n, in_turns.n) as detail
from assigned
join written on written.episode_id = assigned.episode_id and written.audio_sha256 = assigned.audio_sha256
    -- Words of a newer landing wait for their turns.
    and coalesce(assigned.transcript_version = written.data_version, true)
left join in_turns on in_turns.episode_id = assigned.episode_id and in_turns.audio_sha256 = assigned.audio_sha256
where assigned.n <> written.n or assigned.n <> assigned.n_different or in_turns.n is distinct from assigned.n
