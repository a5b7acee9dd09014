"""`podlake stack`: PostgreSQL, Dagster's daemon, the service and a worker on one machine, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from dagster_project.instance import CONFIG, database_url, limit_pools, open_instance, own_config
from dagster_project.settings import Settings
from resources.postgres import PostgresMissing, cluster

URL_VARIABLE = "DAGSTER_POSTGRES_URL"
_STORAGE = f"\nstorage:\n  postgres:\n    postgres_url: {{env: {URL_VARIABLE}}}\n"
_STOP_S = 30.0
_POLL_S = 0.2
_KEY = "stack-"
_DAEMON = ["-m", "dagster._daemon", "run", "-m", "dagster_project.definitions"]


class _Stopped(Exception):
    """A signal asked for the end."""


def run_stack(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> int:
    """Returns 0 after a signal, and 1 if a process exited by itself. Raises `PostgresMissing`."""
    _require_packages()
    folder = settings.cache_folder
    logs = folder / "logs"
    with ExitStack() as running, _signals():
        try:
            url = running.enter_context(cluster(folder / "postgres", logs / "postgres.log"))
            environment = _prepare_instance(settings, folder / "dagster-postgres", url)
            say("For other commands in another shell:")
            for name, value in environment.items():
                say(f"  export {name}={shlex.quote(value)}")
            processes = {}
            for name, arguments in _programs(settings, host, port):
                processes[name] = running.enter_context(_process(name, arguments, environment, logs))
                say(f"{name}: process {processes[name].pid}, log {logs / name}.log")
            say(f"http://{host}:{port}/ when the service is ready. Ctrl-C stops everything.")
            if warning := login_warning(settings):
                say(warning)
            while True:
                for name, process in processes.items():
                    if process.poll() is not None:
                        say(f"{name} exited with {process.returncode}: see {logs / name}.log. Everything is stopped.")
                        return 1
                time.sleep(_POLL_S)
        except _Stopped:
            say("Stopping …")
    return 0


def _require_packages() -> None:
    from importlib.util import find_spec

    for package, extra in (("dagster_postgres", "postgres"), ("fastapi", "service")):
        if find_spec(package) is None:
            raise PostgresMissing(
                f"`podlake stack` needs the extra `{extra}`: pip install 'podlake[postgres,service]'."
            )


def _prepare_instance(settings: Settings, home: Path, url: str) -> dict[str, str]:
    """Write dagster.yaml and create Dagster's tables. Returns the variables that name both."""
    home.mkdir(parents=True, exist_ok=True)
    (home / CONFIG).write_text(own_config(settings) + _STORAGE)
    variables = {"DAGSTER_HOME": str(home), URL_VARIABLE: url}
    os.environ.update(variables)
    with open_instance(settings) as instance:
        limit_pools(instance, settings)
    if "://" not in settings.home:
        variables["PODLAKE_HOME"] = str(Path(settings.home).absolute())
    return variables


def _programs(settings: Settings, host: str, port: int) -> Iterator[tuple[str, list[str]]]:
    yield "daemon", [*_DAEMON, *(("--log-format", "json") if settings.log_format == "json" else ())]
    yield "service", ["-m", "dagster_project.cli", "serve", "--host", host, "--port", str(port)]
    if settings.engine_host == "workers":
        os.environ["PODLAKE_WORKER_TOKEN"] = _worker_token(settings)
        local = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        yield "worker", ["-m", "dagster_project.cli", "worker", "--server", f"http://{local}:{port}"]


def _worker_token(settings: Settings) -> str:
    """A new key at every start: it is never written down. Those of earlier starts are revoked."""
    from resources.accounts import Accounts

    accounts = Accounts.at(database_url(settings))
    for key in accounts.all_keys():
        if key.name.startswith(_KEY) and key.revoked_at is None:
            accounts.revoke_key(key.name)
    return accounts.add_key(f"{_KEY}{time.time_ns()}", "operator", ("work",))


def login_warning(settings: Settings) -> str | None:
    """What to do if no user can log in: a service whose worker has a key asks everybody for a login."""
    from resources.accounts import Accounts

    if settings.engine_host != "workers" or os.environ.get("ADMIN_USERNAME"):
        return None
    if Accounts.at(database_url(settings)).users():
        return None
    return (
        "NO USER CAN LOG IN YET: the worker has a key, so the service asks everybody for a login, and there are no users. "
        "Add one in another shell, with the variables above: podlake users add NAME --role admin"
    )


@contextmanager
def _process(
    name: str, arguments: list[str], environment: Mapping[str, str], logs: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a group of its own, which is ended with all that it has started."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise `_Stopped` once; a second one does not interrupt the stop."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for sent in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sent, signal.SIG_IGN)
        raise _Stopped

    before = {sent: signal.signal(sent, stop) for sent in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)
