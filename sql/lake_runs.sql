-- The record of every try at a stage: open commits, failed tries, and what compaction has sealed of both.
-- Files are listed in the order of lake_table.sql, for the same reasons. Old landings of a key stay as history.
create or replace view lake.$name as
with before as materialized (
    select parse_filename(file, true) as landing
    from glob(concat(main.lake_root(), '/lake/$name/open/*/*@*.parquet'))
),
current as materialized (
    from before
    intersect
    select parse_filename(file, true) from glob(concat(main.lake_root(), '/lake/$name/open/*/*@*.parquet'))
),
manifest as materialized (
    select parse_filename(filename, true) as version, file
    from read_parquet(concat(main.lake_root(), '/lake/$name/manifest/*.parquet'), filename = true)
)
select $open_columns
from (select count(*) from before) as listed_first,
    read_parquet(concat(main.lake_root(), '/lake/$name/open/*/*.parquet'), filename = true, schema = $schema)
where parse_filename(filename, true) in (from current)
union all
select $columns
from (select count(*) from manifest) as listed_first,
    read_parquet(concat(main.lake_root(), '/lake/$name/sealed/*.parquet'), filename = true, schema = $schema)
where parse_filename(filename, true) in (select file from manifest where version = (select max(version) from manifest))
    and concat(episode_id, '@', stamp) not in (from current)
    and (
        select case
            when max(parse_filename(file, true)) = (select max(version) from manifest) then true
            else error('podlake: a compaction replaced sealed files of $name, ask again')
        end
        from glob(concat(main.lake_root(), '/lake/$name/manifest/*.parquet'))
    );
