-- A table of the lake: what has landed lately, and what sealing has folded together.
-- $landing are its naming columns, taken from the file name: so DuckDB opens only the files that a filter names.
create or replace view lake.$name as
select $columns
from (
    select $open_columns
    from read_parquet(['$root/lake/$name/_schema.parquet', '$root/lake/$name/open/*.parquet'], filename = true)
    where not starts_with(parse_filename(filename, true), '_')
    union all
    select $columns
    from read_parquet(['$root/lake/$name/_schema.parquet', '$root/lake/$name/sealed/*.parquet'])
    where $sealed_key not in (select parse_filename(file, true) from glob('$root/lake/$name/open/*.parquet'))
);
