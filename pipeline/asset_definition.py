"""From a stage to a Dagster asset."""

from collections.abc import Iterator

import dagster as dg

from pipeline.contract import run_stage
from pipeline.stage import Stage
from resources.lake.tables import Table

EMPTY_MAPPING = dg.SpecificPartitionsPartitionMapping([])
"""In the lineage, but no partition of it makes one of ours outdated."""


def as_asset(stage: Stage, *, batch_size: int, code_version: str) -> dg.AssetsDefinition:
    """The asset whose materializations run the stage under the batch contract."""
    deps = [dg.AssetDep(name) for name in stage.inputs]
    unordered = [name for name in stage.optional_inputs + stage.gathers if name not in stage.ordered]
    deps += [dg.AssetDep(name) for name in stage.ordered]
    deps += [dg.AssetDep(name, partition_mapping=EMPTY_MAPPING) for name in unordered]
    deps += [dg.AssetDep(name, partition_mapping=_mapping(stage)) for name in stage.catalogue]
    spec = dg.AssetSpec(
        stage.name,
        deps=deps,
        description=stage.description,
        group_name=stage.group,
        kinds=set(stage.kinds),
        code_version=code_version,
        partitions_def=stage.partitions,
        metadata=table_metadata(stage.tables),
        skippable=True,
    )

    @dg.multi_asset(
        specs=[spec],
        name=stage.name,
        pool=stage.pool,
        backfill_policy=dg.BackfillPolicy.multi_run(batch_size),
        required_resource_keys={"lake", *stage.needs, *stage.needs_after_batch},
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        yield from run_stage(context, stage, code_version)

    return materialize


def table_metadata(tables: tuple[Table, ...]) -> dict[str, object]:
    """Column schemas, for the UI's columns tab; the first table's, with the others beside it."""
    schemas = {table.name: column_schema(table) for table in tables}
    first, *others = schemas
    return {
        "dagster/column_schema": schemas[first],
        "dagster/table_name": f"lake.{first}",
        **{f"columns of {name}": schemas[name] for name in others},
    }


def column_schema(table: Table) -> dg.TableSchema:
    """A table's columns as Dagster shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                (field.metadata or {}).get(b"description", b"").decode(),
                dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in table.schema
        ]
    )


def _mapping(stage: Stage) -> dg.PartitionMapping | None:
    """Episodes depend on the catalogue by name only; feeds on an unpartitioned asset, which needs no mapping."""
    return EMPTY_MAPPING if stage.catalogue == ("episodes",) else None
