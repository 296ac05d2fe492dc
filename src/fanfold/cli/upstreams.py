"""`fanfold upstreams`."""

import json
from typing import Annotated, Any

import typer

from fanfold.cli.database import in_database
from fanfold.cli.output import Refused, show_members, show_rows
from fanfold.cli.upstream_owners import Shared, TenantSlug, check_owner, owned
from fanfold.core.config import Settings, environment_variable
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.core.secret_keys import secret_keys
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import transport
from fanfold.upstreams.circuits import CLOSED
from fanfold.upstreams.mapping import PRICE_MEMBERS, read_price, read_upstream
from fanfold.upstreams.price_service import PriceService
from fanfold.upstreams.schemas import UpstreamCreate
from fanfold.upstreams.service import UpstreamService
from fanfold.upstreams.trial import try_upstream, upstream_to_try

COLUMNS = ("slug", "kind", "url", "shared", "is_default", "enabled", "id")
PRICE_COLUMNS = ("effective_from", "effective_until", *PRICE_MEMBERS)

Slug = Annotated[str, typer.Option(help="The upstream's short name.")]
Units = Annotated[int | None, typer.Option(min=0)]

commands = typer.Typer(help="Add, list and test upstreams, of a tenant or shared by all, and their prices.")


@commands.command()
def add(  # noqa: PLR0913 (one argument for each option)
    *,
    tenant: TenantSlug = None,
    shared: Shared = False,
    slug: Slug,
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(ADAPTERS)}.")],
    url: Annotated[str, typer.Option(help="Its address; for AI kinds the base, such as https://.../v1.")],
    model: Annotated[str | None, typer.Option(help="The model, for AI kinds.")] = None,
    method: Annotated[str | None, typer.Option(help="POST or GET.")] = None,
    credential_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable that holds the credential.")
    ] = None,
    response_path: Annotated[str | None, typer.Option(help="JMESPath that picks the result.")] = None,
    units_per_call: Units = None,
    units_per_1k_chars: Units = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default.")] = False,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=JSON", help="Any other member, such as --set timeout_s=30; repeatable."
        ),
    ] = None,
) -> None:
    """Add an upstream; a tenant's first one becomes its default."""
    check_owner(tenant, shared=shared)
    given = {
        "slug": slug,
        "kind": kind,
        "url": url,
        "model": model,
        "method": method,
        "credential": _credential(credential_env),
        "response_path": response_path,
        "units_per_call": units_per_call,
        "units_per_1k_chars": units_per_1k_chars,
        "is_default": default or None,
    }
    sent = {name: value for name, value in given.items() if value is not None}
    wanted = UpstreamCreate.model_validate(sent | dict(map(_member, more or [])))
    settings = Settings()
    ring = KeyRing(secret_keys(settings))
    guard = _guard(settings)

    async def work(database: Database) -> dict[str, Any]:
        async with owned(database, tenant) as mine:
            service = UpstreamService(mine.upstreams, key_ring=ring, guard=guard)
            record = await service.create(mine.owner_id, wanted, max_upstreams=mine.max_upstreams)
            return read_upstream(record).model_dump(mode="json")

    show_members(in_database(work, settings))


@commands.command("list")
def list_upstreams(*, tenant: TenantSlug = None, shared: Shared = False) -> None:
    """List the newest upstreams: those that a tenant may use, or the shared ones alone."""
    check_owner(tenant, shared=shared)

    async def work(database: Database) -> list[dict[str, Any]]:
        async with owned(database, tenant) as mine:
            rows, _ = await mine.upstreams.list(limit=MAX_LIMIT, cursor=None)
            circuits = await mine.upstreams.circuits.of([row.id for row in rows])
            shown = [read_upstream(row, circuits.get(row.id, CLOSED)) for row in rows]
            return [each.model_dump(mode="json") for each in shown]

    show_rows(in_database(work, Settings()), COLUMNS)


@commands.command("prices")
def list_prices(
    slug: Annotated[str, typer.Argument(help="The upstream's short name.")],
    *,
    tenant: TenantSlug = None,
    shared: Shared = False,
) -> None:
    """List the newest prices of an upstream, also those to come."""
    check_owner(tenant, shared=shared)

    async def work(database: Database) -> list[dict[str, Any]]:
        async with owned(database, tenant) as mine:
            record = await mine.find(slug)
            spans, _ = await PriceService(mine.upstreams).list(record.id, limit=MAX_LIMIT, cursor=None)
            return [read_price(span.record, span.effective_until).model_dump(mode="json") for span in spans]

    show_rows(in_database(work, Settings()), PRICE_COLUMNS)


@commands.command("test")
def run_test(*, tenant: TenantSlug = None, shared: Shared = False, slug: Slug) -> None:
    """Call an upstream once with a few fixed words, and say what is wrong. Bills nothing; exit code 1 if it failed."""
    check_owner(tenant, shared=shared)
    settings = Settings()
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, Any]:
        async with owned(database, tenant) as mine:
            record = await mine.find(slug)
            upstream = await upstream_to_try(mine.upstreams, record.id, ring)
        dialling = transport(settings.fan_out.transport, guard=_guard(settings), max_connections=1)
        async with FanOut(transport=dialling) as fan_out:
            return (await try_upstream(fan_out, upstream)).model_dump(mode="json")

    tried = in_database(work, settings)
    show_members(tried)
    if not tried["success"]:
        raise typer.Exit(1)


def _guard(settings: Settings) -> AddressGuard:
    return AddressGuard(settings.fan_out.upstream_allowed_networks, ports=settings.fan_out.ports)


def _credential(variable: str | None) -> str | None:
    if variable is None:
        return None
    found = environment_variable(variable)
    if not found:
        raise Refused(f"The variable {variable} is not set. Put the credential into it, then try again.")
    return found


def _member(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter("--set takes NAME=JSON, such as --set max_concurrency=8.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # a bare word is the string it looks like
