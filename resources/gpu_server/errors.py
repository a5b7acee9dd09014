"""What can go wrong between podlake and a GPU server."""

from __future__ import annotations

from speech.errors import GpuServerUnavailable


class CloudRefused(GpuServerUnavailable):
    """The cloud refuses: wrong credentials, no right to do it, no such server. Asking again does not help."""


class CloudUnreachable(GpuServerUnavailable):
    """The cloud's API gives no answer, or one of its own errors. Asking again may help."""


class ServerFailed(GpuServerUnavailable):
    """The server is in a state from which it does not start: ERROR, no free GPU, paused by a person."""


class NotReadyInTime(GpuServerUnavailable):
    """The server, or the model of its service, was not ready within the time."""
