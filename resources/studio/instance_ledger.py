"""The ledger beside Dagster's own databases: in PostgreSQL where the instance uses it, else in a SQLite file."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from resources.studio.ledger import Ledger

FILE = "podcasts.sqlite"


class InstanceLedger(dg.ConfigurableResource[Ledger]):
    """The resource `ledger`."""

    def create_resource(self, context: dg.InitResourceContext) -> Ledger:
        assert context.instance, "a run and a sensor have one"
        return ledger_of(context.instance)


def ledger_of(instance: dg.DagsterInstance) -> Ledger:
    """The ledger of the instance."""
    url = getattr(instance.run_storage, "postgres_url", None)
    return Ledger(url) if url else Ledger.in_file(Path(instance.root_directory) / FILE)
