"""The database of what changes in place, in SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from resources.database import for_update, open_database, writing
from tests.conftest import Storage

SCHEMA = sa.MetaData()
COUNTERS = sa.Table("counters", SCHEMA, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.Integer))
TASKS = sa.Table("tasks", SCHEMA, sa.Column("task", sa.Integer, primary_key=True), sa.Column("taker", sa.Integer))


@pytest.fixture
def url(storage: Storage, tmp_path: Path) -> str:
    return storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/new/service.db"


def test_threads_lose_no_update(url):
    engine = open_database(url, SCHEMA)
    with writing(engine) as connection:
        connection.execute(COUNTERS.insert().values(name="n", value=0))

    def count() -> None:
        for _ in range(20):
            with writing(engine) as connection:
                row = connection.execute(sa.select(COUNTERS.c.value).with_for_update()).scalar_one()
                connection.execute(COUNTERS.update().values(value=row + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.execute(sa.select(COUNTERS.c.value)).scalar_one() == 80


def test_no_two_take_the_same_row(url):
    engine = open_database(url, SCHEMA)
    with writing(engine) as connection:
        connection.execute(TASKS.insert(), [{"task": number} for number in range(40)])
    taken: list[int] = []

    def take(taker: int) -> None:
        while True:
            with writing(engine) as connection:
                free = for_update(sa.select(TASKS.c.task).where(TASKS.c.taker.is_(None)).limit(1))
                task = connection.execute(free).scalar()
                if task is None:
                    return
                connection.execute(TASKS.update().where(TASKS.c.task == task).values(taker=taker))
            taken.append(task)

    threads = [threading.Thread(target=take, args=(taker,)) for taker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))


def _insert_twice(connection: sa.Connection) -> None:
    for _ in range(2):
        connection.execute(COUNTERS.insert().values(name="n", value=0))


def test_an_error_in_the_block_takes_all_of_it_back(url):
    engine = open_database(url, SCHEMA)
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        _insert_twice(connection)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(COUNTERS)).scalar_one() == 0


def test_processes_may_create_the_tables_at_once(url):
    code = (
        "import sys; from tests.resources.test_database import SCHEMA; from resources.database import open_database;"
        "open_database(sys.argv[1], SCHEMA)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
