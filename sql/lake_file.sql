-- A table of the lake that no stage commits: one file per key, replaced by one rename and never sealed.
create or replace view lake.$name as
select $open_columns
from read_parquet(concat(main.lake_root(), '/lake/$name/open/*.parquet'), filename = true, schema = $schema)
where parse_filename(filename, true) <> '_schema';
