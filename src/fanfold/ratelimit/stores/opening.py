"""Which store keeps the rate limits, and which one decides while it is away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fanfold.core.config import RateLimitSettings
from fanfold.core.db import Connect
from fanfold.core.lazily import on_call
from fanfold.ratelimit.base import RateLimitStore
from fanfold.ratelimit.stores.fallback import FallbackStore, SharedMemory
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.ratelimit.stores.postgres import PostgresStore

_open_valkey = on_call("fanfold.ratelimit.stores.valkey", "ValkeyStore")


@asynccontextmanager
async def open_store(
    settings: RateLimitSettings, connect: Connect, *, workers: int
) -> AsyncIterator[RateLimitStore]:
    """Open the store of the settings: Valkey where it has an address, else Postgres or memory.

    While Valkey is away, Postgres decides; while that is away, the process's share in its own memory.
    """
    async with AsyncExitStack() as stack:
        if settings.store == "memory":
            store: RateLimitStore = MemoryStore(processes=workers)
        else:
            postgres = await stack.enter_async_context(PostgresStore(connect, workers=workers).open())
            store = FallbackStore(postgres, SharedMemory(MemoryStore(), lambda: postgres.processes))
        if settings.valkey_url is not None:
            valkey = _open_valkey(settings.valkey_url.get_secret_value())
            store = FallbackStore(await stack.enter_async_context(valkey.open()), store)
        yield store
