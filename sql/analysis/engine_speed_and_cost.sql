-- How fast is each engine, and how many hours of its device does a thousand hours of audio cost?
-- Times the price of a device hour, the last column is the cost.
select
    stage,
    engine,
    model,
    device,
    count(*) as runs,
    round(sum(audio_ms) / 3.6e6, 2) as audio_hours,
    round(sum(engine_ms) / 3.6e6, 4) as engine_hours,
    round(sum(audio_ms) / nullif(sum(engine_ms), 0), 1) as rtfx,
    round(1000 * sum(engine_ms) / nullif(sum(audio_ms), 0), 2) as device_hours_per_1000_hours
from stage_runs
where outcome = 'landed' and engine is not null and engine_ms is not null and audio_ms is not null
group by all
order by stage, rtfx desc nulls last, engine, model, device;
