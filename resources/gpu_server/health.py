"""Whether the service on a GPU server answers and has loaded its model."""

from __future__ import annotations

import httpx

TIMEOUT_S = 10.0
_MODEL_FIELDS = ("model_loaded", "models_loaded", "loaded", "ready", "model_ready")
_GOOD = frozenset({"ok", "healthy", "ready", "up", "running", "pass", "alive"})


def not_healthy(url: str) -> str | None:
    """Why the service cannot work yet; None: it can.

    A service that says nothing of its model is taken for ready when it answers 200.
    """
    try:
        response = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        return f"{url} gives no answer ({type(error).__name__})"
    if response.status_code != 200:
        return f"{url} answers {response.status_code}"
    try:
        answer = response.json()
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    if any(answer.get(name) is False for name in _MODEL_FIELDS):
        return f"{url} has not loaded its model yet"
    status = str(answer.get("status", "ok")).lower()
    return None if status in _GOOD else f"{url} says {status}"
