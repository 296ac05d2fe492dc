"""What `doctor` looks at, in the order in which a server would need it."""

import asyncio
import importlib.util
from collections.abc import Callable, Iterator

import httpx

from fanfold.cli.output import Refused
from fanfold.cli.sealed import check_sealed
from fanfold.cli.serve import check_port
from fanfold.core.config import Settings, strays
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.postgres_programs import find_programs
from fanfold.core.revisions import current_revision, head
from fanfold.core.secret_keys import secret_keys
from fanfold.core.startup import explain
from fanfold.core.values import value
from fanfold.jobs.figures import Figures, read_figures
from fanfold.resources import open_database

LISTENS_WITHIN_S = 2.0
UNFORESEEN = "It failed as nobody foresaw: `fanfold serve` shows the whole error."


@value
class Finding:
    """One check: whether it holds, what was found, and what to do where it does not, or where it looks strange."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what each check finds. Starts the embedded Postgres, if it is the one in use, and stops it again."""
    yield _names()
    is_embedded = settings.database.url is None and settings.database.owner_url is None
    if is_embedded:
        yield _judged("embedded Postgres", lambda: _programs(settings))
    yield _judged("secret keys", lambda: _ring(settings))
    yield _address(settings, is_embedded=is_embedded)
    database = _judged("database", lambda: asyncio.run(_database(settings)))
    yield database
    if database.ok:
        yield _judged("sealed secrets", lambda: asyncio.run(_sealed(settings)))
        yield _jobs(settings)
    yield _judged("port", lambda: _port(settings))
    yield _judged("speed", _loop)


def _judged(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, detail=check())
    except Refused as refused:
        return Finding(name, ok=False, detail="not as it must be", remedy=refused.message)
    except Exception as error:  # noqa: BLE001 - a doctor reports what he finds, whatever it is
        return Finding(name, ok=False, detail="not as it must be", remedy=explain(error) or UNFORESEEN)


def _names() -> Finding:
    found = list(strays())
    if not found:
        return Finding("settings", ok=True, detail="every name is known")
    names = ", ".join(f"{each.name} ({each.source})" for each in found)
    meant = [f"{each.nearest} for {each.name}" for each in found if each.nearest]
    remedy = f"Did you mean {', '.join(meant)}?" if meant else "README.md and .env.example list the settings."
    return Finding(
        "settings", ok=True, detail=f"no setting of Fanfold, so without effect: {names}", remedy=remedy
    )


def _programs(settings: Settings) -> str:
    settings.database.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs = find_programs(settings.database.data_dir.resolve())
    programs.probe()
    return f"its programs run, data in {settings.database.data_dir.resolve()}"


def _ring(settings: Settings) -> str:
    ring = KeyRing(secret_keys(settings))
    return f"{', '.join(ring.key_ids)} (newest first), none of which could be guessed"


def _address(settings: Settings, *, is_embedded: bool) -> Finding:
    if settings.server.public_url or is_embedded:
        return Finding("public address", ok=True, detail=settings.server.own_url)
    remedy = (
        "Set FANFOLD_PUBLIC_URL, the same on every server: links in mails lead there, and it is the issuer of access "
        "tokens."
    )
    return Finding("public address", ok=True, detail=f"not set, so {settings.server.own_url}", remedy=remedy)


async def _database(settings: Settings) -> str:
    async with open_database(settings) as database:
        return await _described(database)


async def _described(database: Database) -> str:
    newest = head()
    async with database.begin() as connection:
        present = await current_revision(connection)
    if present != newest:
        raise Refused(
            f"The schema is at revision {present}, this version needs {newest}: run `fanfold migrate`."
        )
    return f"reachable, as a role that serves, schema at {newest}"


async def _sealed(settings: Settings) -> str:
    ring = KeyRing(secret_keys(settings))
    async with open_database(settings) as database:
        return await check_sealed(database, ring)


def _jobs(settings: Settings) -> Finding:
    try:
        found = asyncio.run(_figures(settings))
    except Exception as error:  # noqa: BLE001 - a doctor reports what he finds, whatever it is
        return Finding("jobs", ok=False, detail="not as it must be", remedy=explain(error) or UNFORESEEN)
    detail = (
        f"{found.queued} wait, {found.running} run, {found.dead} given up, {found.workers} workers have one"
    )
    remedy = None
    if found.nobody_works:
        remedy = (
            f"Jobs have waited for {found.oldest_s:.0f} s and no worker has one: start `fanfold worker`, or serve "
            "without `--no-worker`."
        )
    elif found.dead:
        remedy = (
            "`fanfold jobs list` shows those that were given up; `fanfold jobs requeue` lets them run again."
        )
    return Finding("jobs", ok=True, detail=detail, remedy=remedy)


async def _figures(settings: Settings) -> Figures:
    async with open_database(settings) as database:
        return await read_figures(database)


def _port(settings: Settings) -> str:
    host, port = settings.server.host, settings.server.port
    try:
        check_port(host, port)
    except Refused:
        if not _is_ours(f"http://{host}:{port}"):
            raise
        return f"a server of Fanfold listens on {port} of {host}"
    return f"{port} of {host} is free"


def _is_ours(address: str) -> bool:
    try:
        answer = httpx.get(f"{address}/ping", timeout=LISTENS_WITHIN_S, trust_env=False)
        return bool(answer.json() == {"message": "pong"})
    except (httpx.HTTPError, ValueError):
        return False


def _loop() -> str:
    missing = [name for name in ("uvloop", "httptools") if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(f"Install what is missing: `pip install {' '.join(missing)}`.")
    return "uvloop and httptools are there"
