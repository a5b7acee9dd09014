"""What tests fetch from: servers on this machine."""

from __future__ import annotations

from typing import Any

from resources.fetch.addresses import AllowedHosts
from resources.fetch.hosts import FetchPolicy


def loopback(**rules: Any) -> FetchPolicy:
    """A policy that has paused no host yet."""
    return FetchPolicy(allowed=AllowedHosts.parse("127.0.0.1"), **rules)
