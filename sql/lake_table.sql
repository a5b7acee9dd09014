-- A table of the lake that the stage `$stage` writes: open landings, and the sealed files of the current manifest.
-- Columns are read by name: a file that an older version wrote has NULL where it lacks one.
-- DuckDB lists files in the order in which this text names them. An open landing counts if its commit stood before and
-- after the open files were listed. The sealed files are listed after that, and hold what a compaction has taken from
-- the open ones meanwhile. So each row is seen exactly once.
create or replace view lake.$name as
with before as materialized (
    select parse_filename(file, true) as landing
    from glob(concat(main.lake_root(), '/lake/stage_runs/open/$stage/*@*.parquet'))
),
current as materialized (
    select string_split(landing, '@')[1] as key, max(landing) as landing
    from (
        from before
        intersect
        select parse_filename(file, true) from glob(concat(main.lake_root(), '/lake/stage_runs/open/$stage/*@*.parquet'))
    )
    group by key
),
manifest as materialized (
    select parse_filename(filename, true) as version, file, superseded
    from read_parquet(concat(main.lake_root(), '/lake/$name/manifest/*.parquet'), filename = true, schema = $manifest_schema)
    qualify version = max(version) over ()
)
select $open_columns
from (select count(*) from before) as listed_first,
    read_parquet(concat(main.lake_root(), '/lake/$name/open/*.parquet'), filename = true, schema = $schema)
where parse_filename(filename, true) in (select landing from current)
union all
select $columns
from (select count(*) from manifest) as listed_first,
    read_parquet(concat(main.lake_root(), '/lake/$name/sealed/*.parquet'), filename = true, schema = $schema)
where parse_filename(filename, true) in (select file from manifest)
    and $key not in (select key from current)
    and concat(parse_filename(filename, true), '/', $key) not in (
        select concat(file, '/', unnest(superseded)) from manifest
    )
    and (
        select case
            when max(parse_filename(file, true)) = (select max(version) from manifest) then true
            else error('podlake: a compaction replaced sealed files of $name, ask again')
        end
        from glob(concat(main.lake_root(), '/lake/$name/manifest/*.parquet'))
    );
