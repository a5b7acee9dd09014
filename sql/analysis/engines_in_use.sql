-- Which model made which rows, and how many episodes are still from an older one?
select
    run.stage,
    run.engine,
    run.model,
    run.engine_fingerprint,
    count(*) as episodes,
    max(run.finished_at) as latest
from (
    from stage_runs
    where outcome = 'landed' and engine_fingerprint is not null
    qualify row_number() over (partition by episode_id, stage order by finished_at desc, run_id) = 1
) as run
group by all
order by stage, latest desc, engine_fingerprint;
