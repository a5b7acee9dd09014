"""The corpus site of `podlake site`, for viewers."""

from __future__ import annotations

from starlette.types import ASGIApp

from gateway.auth import Role
from gateway.mounted import Guarded
from gateway.service import Service
from pages.site import corpus_site


def corpus(service: Service) -> ASGIApp:
    return Guarded(
        corpus_site(service.store, service.index, ui_url="/dagster", listen_url="/listen"), Role.VIEWER, "read"
    )
