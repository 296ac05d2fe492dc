"""Every setting, typed, in groups. The one place that reads the environment and `.env`."""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from fanfold.core.dotenv import DotEnv
from fanfold.core.hosts import ANY, host_pattern, origin
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.core.values import value

IPNetwork = IPv4Network | IPv6Network


def _names(name: str, *, bare: bool = False) -> AliasChoices:
    """Return `FANFOLD_<name>`, and `<name>` itself where the contract allows it."""
    return AliasChoices(f"FANFOLD_{name}", name) if bare else AliasChoices(f"FANFOLD_{name}")


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _port_ranges(value: str) -> tuple[range, ...]:
    bounds = (part.split("-") for part in value.replace(" ", "").split(","))
    return tuple(range(int(each[0]), int(each[-1]) + 1) for each in bounds)


# No `\d`: that is the digits of every script, in these two some 900 kB.
_PORTS = r"^[0-9]{1,5}(-[0-9]{1,5})?( *, *[0-9]{1,5}(-[0-9]{1,5})?)*$"
_PORT_END = 65_536
_A_DAY_S = 86_400
_RATE = r"^[1-9][0-9]*/(second|minute|hour|day)$"  # of slowapi's forms; what it cannot read it does not limit
_VALKEY_SCHEMES = ("valkey://", "valkeys://", "redis://", "rediss://", "unix://")


class _Group(BaseSettings):
    # Compose files and shells hand on what is not set as an empty text.
    model_config = SettingsConfigDict(
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        env_ignore_empty=True,
        # Stands before the names of members and groups, so that the environment can hold none of them: a login
        # shell sets MAIL and HOST, and README has SERVER. What aliases name is read without it.
        env_prefix="=",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is given, then the environment, then `.env`."""
        return (init_settings, env_settings, DotEnv(settings_cls))


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
    keepalive_s: float = Field(15.0, gt=0, le=_A_DAY_S, validation_alias=_names("KEEPALIVE_S"))
    drain_s: float = Field(30.0, gt=0, le=_A_DAY_S, validation_alias=_names("DRAIN_S"))
    drain_delay_s: float = Field(0.0, ge=0, le=_A_DAY_S, validation_alias=_names("DRAIN_DELAY_S"))
    trusted_proxies: Annotated[list[IPNetwork], NoDecode] = Field(
        default_factory=list, validation_alias=_names("TRUSTED_PROXIES")
    )
    docs: bool = Field(default=True, validation_alias=_names("DOCS"))
    public_url: str | None = Field(
        None, pattern=r"^https?://[^/]+(/.*)?$", validation_alias=_names("PUBLIC_URL")
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["*"], validation_alias=_names("ALLOWED_HOSTS")
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, validation_alias=_names("CORS_ORIGINS")
    )
    cors_credentials: bool = Field(default=False, validation_alias=_names("CORS_CREDENTIALS"))

    _commas = field_validator("trusted_proxies", "allowed_hosts", "cors_origins", mode="before")(
        _split_commas
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: list[str]) -> list[str]:
        return [host_pattern(each) for each in value]

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        return [origin(each) for each in value]

    @field_validator("cors_credentials")
    @classmethod
    def _are_for_named_origins(cls, value: bool, others: ValidationInfo) -> bool:  # noqa: FBT001 (pydantic's call)
        if value and ANY in others.data.get("cors_origins", ()):
            raise ValueError(
                "true goes with named origins alone: any web page could act for whoever reads it"
            )
        return value

    @property
    def own_url(self) -> str:
        """Where clients reach this server, without a slash at the end: `public_url`, or where it listens."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


class SecuritySettings(_Group):
    """Secrets. `secret_keys` is newest first; none: made and kept under the data directory, embedded mode only."""

    secret_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        validation_alias=AliasChoices("FANFOLD_SECRET_KEYS", "FANFOLD_SECRET_KEY", "SECRET_KEY"),
    )

    _commas = field_validator("secret_keys", mode="before")(_split_commas)


class IdentitySettings(_Group):
    """People and their sign-ins. Rates are slowapi's, by client address; tries by account and address together."""

    registration: Literal["open", "invite", "closed"] = Field("open", validation_alias=_names("REGISTRATION"))
    jwt_algorithm: Literal["RS256", "ES256", "HS256"] = Field(
        "RS256", validation_alias=_names("JWT_ALGORITHM")
    )
    jwt_key_file: Path | None = Field(None, validation_alias=_names("JWT_KEY_FILE"))
    access_token_minutes: int = Field(10, ge=1, le=60, validation_alias=_names("ACCESS_TOKEN_MINUTES"))
    refresh_token_days: int = Field(30, ge=1, le=365, validation_alias=_names("REFRESH_TOKEN_DAYS"))
    invitation_days: int = Field(7, ge=1, le=90, validation_alias=_names("INVITATION_DAYS"))
    tenant_grace_days: int = Field(30, ge=0, le=3650, validation_alias=_names("TENANT_GRACE_DAYS"))
    password_threads: int = Field(2, ge=1, le=64, validation_alias=_names("PASSWORD_THREADS"))
    password_queue: int = Field(64, ge=1, validation_alias=_names("PASSWORD_QUEUE"))
    login_rate: str = Field("30/minute", pattern=_RATE, validation_alias=_names("LOGIN_RATE"))
    register_rate: str = Field("10/minute", pattern=_RATE, validation_alias=_names("REGISTER_RATE"))
    forgot_password_rate: str = Field(
        "10/minute", pattern=_RATE, validation_alias=_names("FORGOT_PASSWORD_RATE")
    )
    account_tries_per_minute: int = Field(6, ge=1, validation_alias=_names("ACCOUNT_TRIES_PER_MINUTE"))
    account_tries_burst: int = Field(10, ge=1, validation_alias=_names("ACCOUNT_TRIES_BURST"))


class MailSettings(_Group):
    """Where mail goes: `console://`, `file:///folder`, `smtp://`, `smtps://`; and whom it is from."""

    url: SecretStr = Field(SecretStr("console://"), validation_alias=_names("MAIL_URL"))
    # Ours is no mistake, and what tells mistakes is half a megabyte.
    sender: str = Field(
        "Fanfold <fanfold@localhost>", validate_default=False, validation_alias=_names("MAIL_FROM")
    )

    @field_validator("url")
    @classmethod
    def _is_a_mail_url(cls, value: SecretStr) -> SecretStr:
        parse_mail_url(value.get_secret_value())
        return value

    @field_validator("sender")
    @classmethod
    def _is_a_sender(cls, value: str) -> str:
        parse_sender(value)
        return value


class FanOutSettings(_Group):
    """The engine: which transport, how wide, and which addresses it may dial."""

    transport: str = Field("httptools", validation_alias=_names("TRANSPORT"))
    max_connections: int = Field(1000, ge=1, validation_alias=_names("MAX_CONNECTIONS"))
    upstream_allowed_networks: Annotated[list[IPNetwork], NoDecode] = Field(
        default_factory=list, validation_alias=_names("UPSTREAM_ALLOWED_NETWORKS")
    )
    upstream_ports: str = Field("443,1024-65535", pattern=_PORTS, validation_alias=_names("UPSTREAM_PORTS"))
    adhoc_upstreams: bool = Field(default=False, validation_alias=_names("ADHOC_UPSTREAMS"))

    _commas = field_validator("upstream_allowed_networks", mode="before")(_split_commas)

    @field_validator("upstream_ports")
    @classmethod
    def _are_ports(cls, value: str) -> str:
        if not all(1 <= each.start < each.stop <= _PORT_END for each in _port_ranges(value)):
            raise ValueError("must be ports from 1 to 65535 and ranges of them, as in 443,1024-65535")
        return value

    @property
    def ports(self) -> tuple[range, ...]:
        """The ports that upstreams outside the allowed networks may have."""
        return _port_ranges(self.upstream_ports)


class OffloadSettings(_Group):
    """The bounded pool for work off the loop."""

    threads: int = Field(2, ge=1, le=64, validation_alias=_names("OFFLOAD_THREADS"))
    queue: int = Field(64, ge=1, validation_alias=_names("OFFLOAD_QUEUE"))


class UsageSettings(_Group):
    """How long usage events are kept; counters and daily sums stay."""

    retention_months: int = Field(25, ge=0, le=1200, validation_alias=_names("USAGE_RETENTION_MONTHS"))


class JobsSettings(_Group):
    """How jobs are taken in, and worked on: by a process that serves too, how many at once, and by which lease."""

    worker: bool = Field(default=True, validation_alias=_names("JOBS_WORKER"))
    concurrency: int = Field(8, ge=2, le=1000, validation_alias=_names("JOBS_CONCURRENCY"))
    per_tenant: int = Field(4, ge=1, le=1000, validation_alias=_names("JOBS_PER_TENANT"))
    lease_s: float = Field(30.0, ge=3, le=600, validation_alias=_names("JOBS_LEASE_S"))
    max_bytes: int = Field(100 * 1024 * 1024, ge=1024, validation_alias=_names("MAX_JOB_BYTES"))


class RateLimitSettings(_Group):
    """Which store keeps the rate limits; `valkey_url` wins."""

    store: Literal["postgres", "memory"] = Field("postgres", validation_alias=_names("RATE_LIMIT_STORE"))
    valkey_url: SecretStr | None = Field(None, validation_alias=_names("VALKEY_URL"))

    @field_validator("valkey_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(_VALKEY_SCHEMES):
            raise ValueError("must begin with valkey://, valkeys://, redis://, rediss:// or unix://")
        return value


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
    identity: IdentitySettings = Field(default_factory=IdentitySettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    fan_out: FanOutSettings = Field(default_factory=FanOutSettings)
    offload: OffloadSettings = Field(default_factory=OffloadSettings)
    usage: UsageSettings = Field(default_factory=UsageSettings)
    jobs: JobsSettings = Field(default_factory=JobsSettings)
    rate_limit: RateLimitSettings = Field(default_factory=RateLimitSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)


class ClientSettings(_Group):
    """What the command line needs to ask a running server; no part of a server's own settings."""

    url: str | None = Field(None, validation_alias=_names("URL"))
    api_key: SecretStr | None = Field(None, validation_alias=_names("API_KEY"))


Place = Literal["environment", ".env"]


@value
class Origin:
    """One setting: its name in the environment, its value, and where that comes from."""

    name: str
    value: Any
    source: Place | Literal["default"]


@value
class Stray:
    """A name that looks like a setting and is none, where it stands, and the setting that it resembles most."""

    name: str
    source: Place
    nearest: str | None


def origins(settings: Settings) -> Iterator[Origin]:
    """Yield every setting with its source; secrets are still wrapped."""
    places = _places()
    for group in type(settings).model_fields:
        members: BaseModel = getattr(settings, group)
        for member, names in _names_in(type(members)):
            name, source = _first_with(names, places)
            yield Origin(name, getattr(members, member), source)


def given_as(name: str) -> tuple[str, str] | None:
    """Return under which of its names the setting called `name` was given, and where; None where it is no setting."""
    for names in _all_names():
        if name in names:
            return _first_with(names, _places())
    return None


def strays() -> Iterator[Stray]:
    """Yield each FANFOLD_ name of the environment and of `.env` that is no setting."""
    known = {name for names in _all_names() for name in names}
    for place, present in _places().items():
        for name in sorted(present - known):
            if name.startswith("FANFOLD_"):
                nearest = get_close_matches(name, sorted(known), n=1)
                yield Stray(name, place, nearest[0] if nearest else None)


def _all_names() -> Iterator[list[str]]:
    groups = [field.annotation for field in Settings.model_fields.values()]
    for group in [*groups, ClientSettings]:
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from (names for _, names in _names_in(group))


def _names_in(group: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    for member, field in group.model_fields.items():
        choices = field.validation_alias
        yield (
            member,
            [str(name) for name in choices.choices] if isinstance(choices, AliasChoices) else [member],
        )


def _places() -> dict[Place, set[str]]:
    return {
        "environment": {name.upper() for name in os.environ},
        ".env": {name.upper() for name in DotEnv(Settings).env_vars},
    }


def _first_with(names: list[str], places: Mapping[Place, set[str]]) -> tuple[str, Place | Literal["default"]]:
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
