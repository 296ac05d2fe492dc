"""`fanfold upstreams`."""

import json
from typing import Annotated, Any

import typer

from fanfold.cli.database import acting_for, find_tenant, in_database
from fanfold.cli.output import Refused, show_members, show_rows
from fanfold.core.config import Settings, environment_variable
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.core.secret_keys import secret_keys
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.guard import AddressGuard
from fanfold.upstreams.mapping import PRICE_MEMBERS, read_price, read_upstream
from fanfold.upstreams.price_service import PriceService
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import UpstreamCreate
from fanfold.upstreams.service import UpstreamService

COLUMNS = ("slug", "kind", "url", "is_default", "enabled", "id")
PRICE_COLUMNS = ("effective_from", "effective_until", *PRICE_MEMBERS)

TenantSlug = Annotated[str, typer.Option("--tenant", help="The slug of the tenant.")]
Units = Annotated[int | None, typer.Option(min=0)]

commands = typer.Typer(help="Add and list a tenant's upstreams and their prices.")


@commands.command()
def add(  # noqa: PLR0913 (one argument for each option)
    *,
    tenant: TenantSlug,
    slug: Annotated[str, typer.Option(help="The upstream's short name.")],
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
    """Add an upstream; the tenant's first one becomes its default."""
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
    guard = AddressGuard(settings.fan_out.upstream_allowed_networks, ports=settings.fan_out.ports)

    async def work(database: Database) -> dict[str, Any]:
        found, limits = await find_tenant(database, tenant)
        async with acting_for(database, found) as session:
            service = UpstreamService(UpstreamRepository(session, found.id), key_ring=ring, guard=guard)
            record = await service.create(found.id, wanted, max_upstreams=limits.max_upstreams)
            return read_upstream(record).model_dump(mode="json")

    show_members(in_database(work, settings))


@commands.command("list")
def list_upstreams(tenant: TenantSlug) -> None:
    """List a tenant's upstreams, newest first."""

    async def work(database: Database) -> list[dict[str, Any]]:
        found, _ = await find_tenant(database, tenant)
        async with acting_for(database, found) as session:
            rows, _ = await UpstreamRepository(session, found.id).list(limit=MAX_LIMIT, cursor=None)
            return [read_upstream(row).model_dump(mode="json") for row in rows]

    show_rows(in_database(work, Settings()), COLUMNS)


@commands.command("prices")
def list_prices(
    slug: Annotated[str, typer.Argument(help="The upstream's short name.")], tenant: TenantSlug
) -> None:
    """List the newest prices of an upstream, also those to come."""

    async def work(database: Database) -> list[dict[str, Any]]:
        found, _ = await find_tenant(database, tenant)
        async with acting_for(database, found) as session:
            upstreams = UpstreamRepository(session, found.id)
            ids = [record.id for record in await upstreams.all() if record.slug == slug]
            if not ids:
                raise Refused(
                    f"There is no upstream `{slug}`. `fanfold upstreams list` shows which there are."
                )
            spans, _ = await PriceService(upstreams).list(ids[0], limit=MAX_LIMIT, cursor=None)
            return [read_price(span.record, span.effective_until).model_dump(mode="json") for span in spans]

    show_rows(in_database(work, Settings()), PRICE_COLUMNS)


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
