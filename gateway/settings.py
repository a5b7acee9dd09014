"""The settings of `podlake serve`, read once from the environment (`PODLAKE_SERVE_…`) or a `.env` file."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Network = IPv4Network | IPv6Network


class ServeSettings(BaseSettings):
    """Who may use the service, and within which limits. Raises `pydantic.ValidationError`."""

    model_config = SettingsConfigDict(env_prefix="PODLAKE_SERVE_", env_file=".env", extra="ignore", frozen=True)

    admin_username: str | None = Field(
        None,
        validation_alias="ADMIN_USERNAME",
        description="The first administrator's name. Set it together with ADMIN_PASSWORD.",
    )
    admin_password: SecretStr | None = Field(
        None,
        validation_alias="ADMIN_PASSWORD",
        description="Their password, or its hash from `podlake users hash`.",
    )
    dagster: bool = Field(True, description="Whether Dagster's web UI is started, and served at /dagster.")
    names: str = Field(
        "",
        description="Names under which users reach the service: `podlake.example.org`. Requests for other names are refused. Empty: `localhost` and addresses.",
    )
    url: str = Field(
        "",
        description="Where users reach the service, for links in e-mails: `https://podlake.example.org`. Empty: e-mails have no links.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses of proxies whose X-Forwarded-For and -Proto are believed: `10.0.0.5,10.1.0.0/16`.",
    )
    oidc_proxies: str = Field(
        "", description="Addresses of proxies that have authenticated users, and say so in headers. Empty: none."
    )
    oidc_user_header: str = Field("X-Forwarded-User", description="The header with the user's name.")
    oidc_groups_header: str = Field("X-Forwarded-Groups", description="The header with their groups.")
    oidc_email_header: str = Field("X-Forwarded-Email", description="The header with their e-mail address.")
    oidc_admins: str = Field("", description="Groups whose members are administrators: `podlake-admins`.")
    oidc_operators: str = Field("", description="Groups whose members are operators.")
    oidc_viewers: str = Field("", description="Groups whose members are viewers. `*`: everybody.")
    session_hours: float = Field(12.0, gt=0, description="Hours after which a login ends.")
    requests_per_minute: int = Field(
        60_000, ge=1, description="Requests of one user or key in a minute; more are refused with 429."
    )
    logins_per_minute: int = Field(10, ge=1, description="Wrong passwords from one address in a minute.")
    body_mb: float = Field(10.0, gt=0, description="Largest body of a request, in MB.")
    bulk_body_mb: float = Field(1_000.0, gt=0, description="Largest bulk list and largest upload of a worker, in MB.")
    upload_mb: float = Field(500.0, gt=0, description="Largest video or recording that users upload, in MB.")
    lease_s: float = Field(60.0, gt=0, description="Seconds that a worker may be silent before its jobs go to others.")
    event_clients: int = Field(500, ge=1, description="Clients that follow the events at once.")
    notification_clients: int = Field(2_000, ge=1, description="Clients that wait for notifications at once.")
    listeners: int = Field(1_000, ge=1, description="Connections that listen live at once.")
    listen_hours: float = Field(6.0, gt=0, description="Hours for which a token to listen live is valid.")
    listen_cache_gb: float = Field(
        2.0, gt=0, description="Size limit of what is encoded for listening live, in GB: 14 MB an hour."
    )

    @field_validator("trusted_proxies", "oidc_proxies")
    @classmethod
    def _networks_are_readable(cls, value: str) -> str:
        parse_networks(value)
        return value


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks. Raises ValueError."""
    return tuple(ip_network(part, strict=False) for part in parse_list(text))


def parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
