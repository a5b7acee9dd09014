"""A server of OpenStack's Nova: its state, and the requests to unshelve, start and shelve it. Through openstacksdk.

Credentials are those of the OpenStack clients: OS_AUTH_URL, OS_USERNAME, … or OS_CLOUD and clouds.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from resources.gpu_server.errors import CloudRefused, CloudUnreachable
from speech.errors import EngineUnavailable

if TYPE_CHECKING:
    from openstack.connection import Connection

SHELVED = frozenset({"SHELVED", "SHELVED_OFFLOADED"})
SHELVABLE = frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"})
API_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ServerState:
    """What Nova says of a server at a moment."""

    status: str
    """`ACTIVE`, `SHELVED_OFFLOADED`, `ERROR`, …"""
    task: str | None = None
    """What is being done to it: `shelving`, `spawning`, …; None: nothing."""
    fault: str | None = None
    """Why it is in ERROR."""

    @property
    def is_running(self) -> bool:
        """ACTIVE, and about to stay so."""
        return self.status == "ACTIVE" and self.task is None

    @property
    def is_shelved(self) -> bool:
        """Whether it can be unshelved now."""
        return self.status in SHELVED and self.task is None

    def __str__(self) -> str:
        return f"{self.status} ({self.task})" if self.task else self.status


class Compute(Protocol):
    """A server that can be switched on and off. Each method raises a `GpuServerUnavailable`."""

    @property
    def name(self) -> str: ...

    def state(self) -> ServerState: ...

    def unshelve(self) -> bool:
        """Whether the cloud has accepted it; False: its state does not allow it now, so look again."""
        ...

    def start(self) -> bool: ...

    def shelve(self) -> bool: ...


@dataclass(frozen=True)
class OpenStackServer:
    """A server by its name or id."""

    name: str

    def state(self) -> ServerState:
        with _errors(self.name):
            server = self._connection.compute.get_server(self._id)
            fault = server.fault or {}
            return ServerState(server.status or "UNKNOWN", server.task_state, fault.get("message"))

    def unshelve(self) -> bool:
        return self._asked("unshelve_server")

    def start(self) -> bool:
        return self._asked("start_server")

    def shelve(self) -> bool:
        return self._asked("shelve_server")

    def _asked(self, method: str) -> bool:
        from openstack.exceptions import ConflictException

        with _errors(self.name):
            try:
                getattr(self._connection.compute, method)(self._id)
            except ConflictException as error:
                if "locked" in str(error).lower():
                    raise CloudRefused(
                        f"The GPU server {self.name} is locked: openstack server unlock {self.name}."
                    ) from error
                return False
            return True

    @cached_property
    def _connection(self) -> Connection:
        try:
            import openstack
        except ImportError as error:
            raise EngineUnavailable(
                "Not installed: openstacksdk. Install it with: pip install 'podlake[openstack]'"
            ) from error
        return openstack.connect(app_name="podlake", api_timeout=API_TIMEOUT_S)

    @cached_property
    def _id(self) -> str:
        server = self._connection.compute.find_server(self.name, ignore_missing=False)
        assert server is not None
        return str(server.id)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """The errors of openstacksdk as ours. Their texts name no password."""
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk

    try:
        yield
    except (sdk.NotFoundException, sdk.DuplicateResource) as error:
        raise CloudRefused(f"The GPU server {name} is not there, or there are several of this name: {error}") from error
    except (sdk.ConfigException, auth.MissingRequiredOptions, auth.MissingAuthPlugin) as error:
        raise CloudRefused(
            f"The credentials of the cloud are incomplete: {error}. Set OS_AUTH_URL and others."
        ) from error
    except (sdk.HttpException, auth.HttpError) as error:
        raise _of_status(name, error) from error
    except (sdk.SDKException, auth.ClientException) as error:
        raise CloudUnreachable(f"The cloud gives no answer about the GPU server {name}: {error}") from error


def _of_status(name: str, error: Any) -> CloudRefused | CloudUnreachable:
    status = int(getattr(error, "status_code", None) or getattr(error, "http_status", None) or 500)
    if status in (401, 403):
        return CloudRefused(f"The cloud refuses access to the GPU server {name} ({status}): {error}")
    return CloudUnreachable(f"The cloud answers {status} about the GPU server {name}: {error}")
