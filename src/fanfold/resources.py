"""What one process has: opened in this order when it starts, closed in reverse when it ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypedDict

from fanfold.api_keys.authenticator import KeyAuthenticator
from fanfold.api_keys.last_use import LastUse
from fanfold.core.background import Background
from fanfold.core.chores import Chore
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.database_urls import DatabaseUrls, database_urls
from fanfold.core.db import Database
from fanfold.core.migrations import MigrationRefused, migrate, status
from fanfold.core.offload import Offload
from fanfold.core.secret_keys import secret_keys
from fanfold.fanout.breaker import Breaker
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.service import FanOut
from fanfold.fanout.splitters.tokens import load as load_vocabulary
from fanfold.fanout.transports.registry import transport
from fanfold.idempotency.purge import Purge
from fanfold.mail.base import Mailer
from fanfold.mail.opening import open_mailer
from fanfold.members.invitation_mails import InvitationMails
from fanfold.members.invitation_service import TOPIC as INVITATION
from fanfold.oauth.authenticator import TokenAuthenticator
from fanfold.oauth.purge import SignInPurge
from fanfold.oauth.signing_keys import SigningKeys
from fanfold.oauth.tokens import AccessTokens
from fanfold.outbox.relay import Relay
from fanfold.outbox.types import Handler
from fanfold.ratelimit.base import RateLimitStore
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from fanfold.ratelimit.stores.opening import open_store
from fanfold.tenants.eraser import Eraser
from fanfold.upstreams.circuit_notes import CircuitNotes
from fanfold.upstreams.circuit_warnings import TOPIC as CIRCUIT_WARNING
from fanfold.upstreams.circuit_warnings import CircuitWarnings
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.usage.ledger import Ledger
from fanfold.usage.quota_warnings import TOPIC as QUOTA_WARNING
from fanfold.usage.quota_warnings import QuotaWarnings
from fanfold.usage.sweeper import Sweeper
from fanfold.usage.upkeep import Upkeep
from fanfold.users.account_mails import AccountMails
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.passwords import Passwords


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Everything that endpoints, workers and the command line share within one process."""

    settings: Settings
    key_ring: KeyRing
    database: Database
    offload: Offload
    address_guard: AddressGuard
    fan_out: FanOut
    circuit_notes: CircuitNotes
    ledger: Ledger
    sweeper: Sweeper
    relay: Relay
    quota_warnings: QuotaWarnings
    circuit_warnings: CircuitWarnings
    mailer: Mailer
    upkeep: Upkeep
    rate_limit_store: RateLimitStore
    background: Background
    concurrency: ConcurrencyLimiter
    upstream_directory: UpstreamDirectory
    passwords: Passwords
    mailed_tokens: MailedTokens
    signing_keys: SigningKeys
    access_tokens: AccessTokens
    token_authenticator: TokenAuthenticator
    authenticators: tuple[KeyAuthenticator, TokenAuthenticator]


class _Chores(TypedDict):
    """What is done beside the requests, and what does it."""

    sweeper: Sweeper
    relay: Relay
    quota_warnings: QuotaWarnings
    circuit_warnings: CircuitWarnings
    mailer: Mailer
    upkeep: Upkeep


class _Identity(TypedDict):
    """What tells who somebody is."""

    passwords: Passwords
    signing_keys: SigningKeys
    access_tokens: AccessTokens
    token_authenticator: TokenAuthenticator
    authenticators: tuple[KeyAuthenticator, TokenAuthenticator]


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    with database_urls(settings.database) as urls:
        _bring_up_to_date(settings, urls)
        if urls.app is None:
            raise MigrationRefused(
                "FANFOLD_OWNER_DATABASE_URL alone is for `fanfold migrate`. To serve, put the serving login's address "
                "into FANFOLD_DATABASE_URL as well; `fanfold migrate` makes the login that it names."
            )
        yield urls.app


def _bring_up_to_date(settings: Settings, urls: DatabaseUrls) -> None:
    # A server of somebody's own is migrated by `fanfold migrate`, when its operator says so; ours here and now.
    is_embedded = settings.database.url is None and settings.database.owner_url is None
    if is_embedded and urls.owner and urls.app and not status(urls.owner).is_at_head:
        migrate(urls.owner, app_url=urls.app)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database as the serving role; the embedded one is started and migrated first."""
    blocking = _database(settings)
    url = await asyncio.to_thread(blocking.__enter__)
    try:
        pool = settings.database
        async with Database(url, pool_size=pool.pool_size, pool_timeout_s=pool.pool_timeout_s) as database:
            await database.check_role()
            yield database
    finally:
        await asyncio.to_thread(blocking.__exit__, None, None, None)


@asynccontextmanager
async def _looping(
    *loops: Sweeper | Relay | Upkeep | LastUse | CircuitNotes | Chore,
) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run()) for loop in loops]
        yield
        for task in tasks:
            task.cancel()


def _relay(
    database: Database, warnings: Mapping[str, Handler], mailer: Mailer, tokens: MailedTokens, server: str
) -> Relay:
    invitation_mails = InvitationMails(database, tokens, mailer, server)
    account_mails = AccountMails(database, mailer, tokens, server=server)
    mails: dict[str, Handler] = {INVITATION: invitation_mails, **account_mails.handlers}
    return Relay(database.connect, {**warnings, **mails})


def _workers(settings: Settings) -> int:
    # `serve` has made a number of `auto`; under another server nobody has, and nobody can tell.
    workers = settings.server.workers
    return max(1, workers) if isinstance(workers, int) else 1


async def _open_fan_out(
    stack: AsyncExitStack, settings: Settings, guard: AddressGuard, notes: CircuitNotes
) -> tuple[Offload, FanOut]:
    offload = Offload(threads=settings.offload.threads, queue=settings.offload.queue)
    stack.callback(offload.close)
    most = settings.fan_out.max_connections
    chosen = transport(settings.fan_out.transport, guard=guard, max_connections=most)
    resilience = Resilience(breaker=Breaker(on_change=notes.note))
    fan_out = FanOut(transport=chosen, offload=offload, max_in_flight=most, resilience=resilience)
    return offload, await stack.enter_async_context(fan_out)


async def _open_limits(
    stack: AsyncExitStack, settings: Settings, database: Database
) -> tuple[ConcurrencyLimiter, RateLimitStore]:
    workers = _workers(settings)
    concurrency = ConcurrencyLimiter(database.connect, workers=workers)
    store = open_store(settings.rate_limit, database.connect, workers=workers)
    return await stack.enter_async_context(concurrency), await stack.enter_async_context(store)


async def _open_chores(
    stack: AsyncExitStack, settings: Settings, database: Database, tokens: MailedTokens, last_use: LastUse
) -> _Chores:
    sweeper = Sweeper(database.connect)
    quota_warnings, circuit_warnings = QuotaWarnings(), CircuitWarnings()
    warnings: dict[str, Handler] = {QUOTA_WARNING: quota_warnings, CIRCUIT_WARNING: circuit_warnings}
    mailer = open_mailer(settings.mail)
    relay = _relay(database, warnings, mailer, tokens, settings.server.own_url)
    upkeep = Upkeep(database.connect, retention_months=settings.usage.retention_months)
    ends = Purge(database), Eraser(database), SignInPurge(database)
    await stack.enter_async_context(_looping(sweeper, relay, upkeep, *ends, last_use))
    return _Chores(
        sweeper=sweeper,
        relay=relay,
        quota_warnings=quota_warnings,
        circuit_warnings=circuit_warnings,
        mailer=mailer,
        upkeep=upkeep,
    )


async def _open_passwords(stack: AsyncExitStack, settings: Settings) -> Passwords:
    identity = settings.identity
    passwords = Passwords(threads=identity.password_threads, queue=identity.password_queue)
    stack.callback(passwords.close)
    await passwords.prepare()
    return passwords


async def _open_identity(
    stack: AsyncExitStack, settings: Settings, database: Database, key_ring: KeyRing, last_use: LastUse
) -> _Identity:
    passwords = await _open_passwords(stack, settings)
    issuer, minutes = settings.server.own_url, settings.identity.access_token_minutes
    signing_keys = SigningKeys(database, key_ring, settings.identity)
    await signing_keys.ensure()
    key_authenticator = KeyAuthenticator(database, key_ring, on_use=last_use.note)
    token_authenticator = TokenAuthenticator(database, signing_keys, issuer=issuer)
    return _Identity(
        passwords=passwords,
        signing_keys=signing_keys,
        access_tokens=AccessTokens(signing_keys, issuer=issuer, minutes=minutes),
        token_authenticator=token_authenticator,
        authenticators=(key_authenticator, token_authenticator),
    )


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything; raises with a text that says what to do where a setting does not hold."""
    key_ring = KeyRing(secret_keys(settings))
    guard = AddressGuard(settings.fan_out.upstream_allowed_networks, ports=settings.fan_out.ports)
    async with AsyncExitStack() as stack:
        # Before serving begins: loading holds the interpreter for longer than a request may be kept waiting.
        loading = asyncio.get_running_loop().run_in_executor(None, load_vocabulary)
        database = await stack.enter_async_context(open_database(settings))
        await loading
        circuit_notes = CircuitNotes(database)
        await stack.enter_async_context(_looping(circuit_notes))
        offload, fan_out = await _open_fan_out(stack, settings, guard, circuit_notes)
        ledger = await stack.enter_async_context(Ledger(database.connect))
        mailed_tokens, last_use = MailedTokens(key_ring), LastUse(database)
        chores = await _open_chores(stack, settings, database, mailed_tokens, last_use)
        concurrency, rate_limit_store = await _open_limits(stack, settings, database)
        identity = await _open_identity(stack, settings, database, key_ring, last_use)
        yield Resources(
            settings=settings,
            key_ring=key_ring,
            database=database,
            offload=offload,
            address_guard=guard,
            fan_out=fan_out,
            circuit_notes=circuit_notes,
            ledger=ledger,
            rate_limit_store=rate_limit_store,
            background=await stack.enter_async_context(Background()),
            concurrency=concurrency,
            upstream_directory=UpstreamDirectory(database, key_ring),
            mailed_tokens=mailed_tokens,
            **chores,
            **identity,
        )
