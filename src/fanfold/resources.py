"""What one process has: opened in this order when it starts, closed in reverse when it ends."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TypeAlias, TypedDict

from fanfold.api_keys.authenticator import KeyAuthenticator
from fanfold.api_keys.last_use import LastUse
from fanfold.auth.strangers import Strangers
from fanfold.auth.watch import SocketWatch
from fanfold.core.background import Background
from fanfold.core.chores import Chore
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.database_urls import DatabaseUrls, database_urls
from fanfold.core.db import Database
from fanfold.core.lazily import on_call
from fanfold.core.offload import Offload, prompt_switches
from fanfold.core.revisions import status
from fanfold.core.roles import MigrationRefused
from fanfold.core.secret_keys import secret_keys
from fanfold.core.values import value
from fanfold.fanout.breaker import Breaker
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.base import Transport
from fanfold.fanout.transports.registry import transport
from fanfold.idempotency.purge import Purge
from fanfold.jobs.figures import JobFigures
from fanfold.jobs.lane import JobLane
from fanfold.jobs.purge import JobPurge
from fanfold.jobs.watching import JobWatch
from fanfold.mail.base import Mailer
from fanfold.mail.opening import open_mailer
from fanfold.members.invitation_mails import InvitationMails
from fanfold.members.invitation_service import TOPIC as INVITATION
from fanfold.oauth.authenticator import TokenAuthenticator
from fanfold.oauth.purge import SignInPurge
from fanfold.oauth.signing_keys import SigningKeys
from fanfold.oauth.tokens import AccessTokens
from fanfold.outbox.relay import Relay
from fanfold.outbox.types import Handler, in_turn
from fanfold.ratelimit.base import RateLimitStore
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter
from fanfold.ratelimit.stores.opening import open_store
from fanfold.tenants.eraser import Eraser
from fanfold.upstreams.circuit_notes import CircuitNotes
from fanfold.upstreams.circuit_warnings import TOPIC as CIRCUIT_WARNING
from fanfold.upstreams.circuit_warnings import CircuitWarnings
from fanfold.upstreams.directory import UpstreamDirectory, prices_tokens
from fanfold.usage.ledger import Ledger
from fanfold.usage.quota_warnings import TOPIC as QUOTA_WARNING
from fanfold.usage.quota_warnings import QuotaWarnings
from fanfold.usage.sweeper import Sweeper
from fanfold.usage.upkeep import Upkeep
from fanfold.users.account_mails import AccountMails
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.passwords import Passwords
from fanfold.webhooks.claiming import DelivererLimits
from fanfold.webhooks.deliverer import Deliverer
from fanfold.webhooks.disabled_mails import DisabledMails
from fanfold.webhooks.ending import DISABLED_MAIL
from fanfold.webhooks.event_writer import EventWriter
from fanfold.webhooks.events import EVENTS
from fanfold.webhooks.sender import Sender
from fanfold.webhooks.upkeep import WebhookUpkeep

# With Alembic, which no start needs but the first of a version.
migrate = on_call("fanfold.core.migrations", "migrate")
load_vocabulary = on_call("fanfold.fanout.splitters.tokens", "load")


@value(kw_only=True)
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
    job_lane: JobLane
    job_watch: JobWatch
    job_figures: JobFigures
    job_purge: JobPurge
    sweeper: Sweeper
    relay: Relay
    quota_warnings: QuotaWarnings
    circuit_warnings: CircuitWarnings
    mailer: Mailer
    upkeep: Upkeep
    webhook_sender: Sender
    deliverer: Deliverer
    webhook_upkeep: WebhookUpkeep
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
    socket_watch: SocketWatch
    strangers: Strangers


# Makes a transport of its own connections: `max_connections`.
_Dialling: TypeAlias = Callable[..., Transport]


class _Chores(TypedDict):
    """What is done beside the requests, and what does it."""

    sweeper: Sweeper
    relay: Relay
    quota_warnings: QuotaWarnings
    circuit_warnings: CircuitWarnings
    mailer: Mailer
    upkeep: Upkeep


class _Webhooks(TypedDict):
    """What sends events to tenants."""

    webhook_sender: Sender
    deliverer: Deliverer
    webhook_upkeep: WebhookUpkeep


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
    *loops: Sweeper | Relay | Upkeep | LastUse | CircuitNotes | Chore | Deliverer,
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
    webhook_mails: dict[str, Handler] = {DISABLED_MAIL: DisabledMails(database, mailer, server)}
    return Relay(database.connect, {**warnings, **mails, **webhook_mails})


def _workers(settings: Settings) -> int:
    # `serve` has made a number of `auto`; under another server nobody has, and nobody can tell.
    workers = settings.server.workers
    return max(1, workers) if isinstance(workers, int) else 1


async def _open_fan_out(
    stack: AsyncExitStack, settings: Settings, dialling: _Dialling, notes: CircuitNotes
) -> tuple[Offload, FanOut]:
    stack.enter_context(prompt_switches())
    offload = Offload(threads=settings.offload.threads, queue=settings.offload.queue)
    stack.callback(offload.close)
    most = settings.fan_out.max_connections
    chosen = dialling(max_connections=most)
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


async def _open_webhooks(
    stack: AsyncExitStack, dialling: _Dialling, database: Database, key_ring: KeyRing
) -> _Webhooks:
    limits = DelivererLimits()
    # Connections of their own: neither waits for the fan-out's, nor they for ours.
    carrier = dialling(max_connections=2 * limits.most)
    stack.push_async_callback(carrier.aclose)
    sender, upkeep = Sender(carrier), WebhookUpkeep(database)
    deliverer = Deliverer(database, key_ring, sender, limits=limits)
    await stack.enter_async_context(_looping(deliverer, upkeep))
    return _Webhooks(webhook_sender=sender, deliverer=deliverer, webhook_upkeep=upkeep)


async def _open_chores(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    tokens: MailedTokens,
    last_use: LastUse,
    event_writer: EventWriter,
) -> _Chores:
    sweeper = Sweeper(database.connect)
    quota_warnings, circuit_warnings = QuotaWarnings(), CircuitWarnings()
    warnings: dict[str, Handler] = {
        **dict.fromkeys(EVENTS, event_writer),
        QUOTA_WARNING: in_turn(event_writer, quota_warnings),
        CIRCUIT_WARNING: in_turn(event_writer, circuit_warnings),
    }
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


def _open_passwords(stack: AsyncExitStack, settings: Settings) -> Passwords:
    identity = settings.identity
    passwords = Passwords(threads=identity.password_threads, queue=identity.password_queue)
    stack.callback(passwords.close)
    return passwords


async def _open_identity(
    stack: AsyncExitStack, settings: Settings, database: Database, key_ring: KeyRing, last_use: LastUse
) -> _Identity:
    passwords = _open_passwords(stack, settings)
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


async def load_where_billed(database: Database, load: Callable[[], None] = load_vocabulary) -> None:
    """Load the tokenizer's vocabulary where anybody bills tokens: others are spared its time and its memory."""
    if await prices_tokens(database):
        await asyncio.to_thread(load)  # it holds the interpreter: now, before serving begins


async def _open_encrypted(stack: AsyncExitStack, settings: Settings) -> tuple[Database, ssl.SSLContext]:
    """Open the database, and what calls to upstreams are encrypted with beside it."""
    encrypting = asyncio.create_task(asyncio.to_thread(_encryption))
    try:
        database = await stack.enter_async_context(open_database(settings))
    except BaseException:
        await asyncio.gather(encrypting, return_exceptions=True)  # which would hide it
        raise
    return database, await encrypting


def _encryption() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything; raises with a text that says what to do where a setting does not hold."""
    key_ring = KeyRing(secret_keys(settings))
    guard = AddressGuard(settings.fan_out.upstream_allowed_networks, ports=settings.fan_out.ports)
    async with AsyncExitStack() as stack:
        database, encrypted = await _open_encrypted(stack, settings)
        # Of one context: each would read the system's authorities for itself.
        dialling = partial(transport, settings.fan_out.transport, guard=guard, ssl_context=encrypted)
        await load_where_billed(database)
        circuit_notes = CircuitNotes(database)
        await stack.enter_async_context(_looping(circuit_notes))
        offload, fan_out = await _open_fan_out(stack, settings, dialling, circuit_notes)
        ledger = await stack.enter_async_context(Ledger(database.connect))
        job_lane = await stack.enter_async_context(JobLane(database.connect))
        job_watch, job_figures, job_purge = JobWatch(database), JobFigures(database), JobPurge(database)
        await stack.enter_async_context(_looping(job_watch, job_figures, job_purge))
        mailed_tokens, last_use = MailedTokens(key_ring), LastUse(database)
        webhooks = await _open_webhooks(stack, dialling, database, key_ring)
        event_writer = EventWriter(database, on_written=webhooks["deliverer"].nudge)
        chores = await _open_chores(stack, settings, database, mailed_tokens, last_use, event_writer)
        concurrency, rate_limit_store = await _open_limits(stack, settings, database)
        identity = await _open_identity(stack, settings, database, key_ring, last_use)
        socket_watch = SocketWatch(identity["authenticators"])
        await stack.enter_async_context(_looping(socket_watch))
        yield Resources(
            settings=settings,
            key_ring=key_ring,
            database=database,
            offload=offload,
            address_guard=guard,
            fan_out=fan_out,
            circuit_notes=circuit_notes,
            ledger=ledger,
            job_lane=job_lane,
            job_watch=job_watch,
            job_figures=job_figures,
            job_purge=job_purge,
            rate_limit_store=rate_limit_store,
            background=await stack.enter_async_context(Background()),
            concurrency=concurrency,
            upstream_directory=UpstreamDirectory(database, key_ring),
            mailed_tokens=mailed_tokens,
            socket_watch=socket_watch,
            strangers=Strangers(),
            **webhooks,
            **chores,
            **identity,
        )
