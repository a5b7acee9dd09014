-- A table of the lake: what has landed lately, and what sealing has folded together.
-- $name is read by column name: a file that was written before a column was added has NULL there.
-- $landing are its naming columns, taken from the file name: so DuckDB opens only the files that a filter names.
-- A landing counts as open if it was listed both before and after the sealed files were: whatever is landed, sealed
-- or removed while a query begins, it is seen once. DuckDB lists where the query first names what is to be listed, so
-- `listed` is named before the open files.
create or replace view lake.$name as
with listed as materialized (
    select parse_filename(file, true) as key
    from glob('$root/lake/$name/open/*.parquet')
)
select $open_columns
from (select count(*) from listed) as listed_first,
    read_parquet('$root/lake/$name/open/*.parquet', filename = true, schema = $schema)
where parse_filename(filename, true) in (from listed)
union all
select $columns
from read_parquet('$root/lake/$name/sealed/*.parquet', schema = $schema)
where $sealed_key not in (
    select key from listed
    intersect
    select parse_filename(file, true) from glob('$root/lake/$name/open/*.parquet')
);
