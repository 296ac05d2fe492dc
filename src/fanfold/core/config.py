"""Every setting, typed, in groups. The one place that reads the environment and `.env`."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

IPNetwork = IPv4Network | IPv6Network


def _names(name: str, *, bare: bool = False) -> AliasChoices:
    """Return `FANFOLD_<name>`, and `<name>` itself where the contract allows it."""
    return AliasChoices(f"FANFOLD_{name}", name) if bare else AliasChoices(f"FANFOLD_{name}")


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class _Group(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True, frozen=True
    )


class DatabaseSettings(_Group):
    """Where Postgres is. No `url`: the embedded one, under `data_dir`."""

    url: SecretStr | None = Field(None, validation_alias=_names("DATABASE_URL", bare=True))
    owner_url: SecretStr | None = Field(None, validation_alias=_names("OWNER_DATABASE_URL"))
    data_dir: Path = Field(Path(".fanfold"), validation_alias=_names("DATA_DIR"))
    pool_size: int = Field(10, ge=1, le=200, validation_alias=_names("DATABASE_POOL_SIZE"))
    pool_timeout_s: float = Field(5.0, gt=0, validation_alias=_names("DATABASE_POOL_TIMEOUT_S"))


class ServerSettings(_Group):
    """How HTTP is served."""

    host: str = Field("127.0.0.1", validation_alias=_names("HOST"))
    port: int = Field(8000, ge=0, le=65535, validation_alias=_names("PORT", bare=True))
    workers: int | Literal["auto"] = Field(1, validation_alias=_names("WORKERS"))
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024, validation_alias=_names("MAX_BODY_BYTES"))
    body_timeout_s: float = Field(60.0, gt=0, validation_alias=_names("BODY_TIMEOUT_S"))
    trusted_proxies: Annotated[list[IPNetwork], NoDecode] = Field(
        default_factory=list, validation_alias=_names("TRUSTED_PROXIES")
    )
    docs: bool = Field(default=True, validation_alias=_names("DOCS"))

    _commas = field_validator("trusted_proxies", mode="before")(_split_commas)


class SecuritySettings(_Group):
    """Secrets. `secret_keys` is newest first; none: made and kept under the data directory, embedded mode only."""

    secret_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        validation_alias=AliasChoices("FANFOLD_SECRET_KEYS", "FANFOLD_SECRET_KEY", "SECRET_KEY"),
    )

    _commas = field_validator("secret_keys", mode="before")(_split_commas)


class FanOutSettings(_Group):
    """The engine: which transport, how wide, and which addresses it may dial."""

    transport: str = Field("aiohttp", validation_alias=_names("TRANSPORT"))
    max_connections: int = Field(1000, ge=1, validation_alias=_names("MAX_CONNECTIONS"))
    upstream_allowed_networks: Annotated[list[IPNetwork], NoDecode] = Field(
        default_factory=list, validation_alias=_names("UPSTREAM_ALLOWED_NETWORKS")
    )
    adhoc_upstreams: bool = Field(default=False, validation_alias=_names("ADHOC_UPSTREAMS"))

    _commas = field_validator("upstream_allowed_networks", mode="before")(_split_commas)


class OffloadSettings(_Group):
    """The bounded pool for work off the loop."""

    threads: int = Field(2, ge=1, le=64, validation_alias=_names("OFFLOAD_THREADS"))
    queue: int = Field(64, ge=1, validation_alias=_names("OFFLOAD_QUEUE"))


class TelemetrySettings(_Group):
    """Logs and metrics."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_names("LOG_LEVEL")
    )
    log_queue: int = Field(10_000, ge=1, validation_alias=_names("LOG_QUEUE"))
    metrics_port: int | None = Field(None, ge=1, le=65535, validation_alias=_names("METRICS_PORT"))


class Settings(_Group):
    """All settings of one process."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    fan_out: FanOutSettings = Field(default_factory=FanOutSettings)
    offload: OffloadSettings = Field(default_factory=OffloadSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)


class ClientSettings(_Group):
    """What the command line needs to ask a running server; no part of a server's own settings."""

    url: str | None = Field(None, validation_alias=_names("URL"))
    api_key: SecretStr | None = Field(None, validation_alias=_names("API_KEY"))


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its name in the environment, its value, and where that comes from."""

    name: str
    value: Any
    source: Literal["environment", ".env", "default"]


def origins(settings: Settings) -> Iterator[Origin]:
    """Yield every setting with its source; secrets are still wrapped."""
    environment = {name.upper() for name in os.environ}
    dotenv = {name.upper() for name in DotEnvSettingsSource(Settings).env_vars}
    for group in type(settings).model_fields:
        members: BaseModel = getattr(settings, group)
        for member, field in type(members).model_fields.items():
            choices = field.validation_alias
            names = [str(name) for name in choices.choices] if isinstance(choices, AliasChoices) else [member]
            found_in = _first_with(names, {"environment": environment, ".env": dotenv})
            yield Origin(found_in[0], getattr(members, member), found_in[1])


def _first_with(
    names: list[str], places: Mapping[Literal["environment", ".env"], set[str]]
) -> tuple[str, Literal["environment", ".env", "default"]]:
    for place, known in places.items():
        for name in names:
            if name in known:
                return name, place
    return names[0], "default"


def environment_variable(name: str) -> str | None:
    """Return a variable that a command was told to read, such as a credential's."""
    return os.environ.get(name)


def export(**values: object) -> None:
    """Put settings into the environment, for the processes that this one starts."""
    os.environ.update({f"FANFOLD_{name}": str(value) for name, value in values.items()})
