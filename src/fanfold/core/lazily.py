"""Imports put off until what they hold is called: the one place for it (docs/decisions/start-up.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from typing import Any


def on_call(module: str, name: str) -> Callable[..., Any]:
    """Return what calls `name` of `module`, which is imported at the first call: for what most processes never need."""

    @cache
    def found() -> Callable[..., Any]:
        called: Callable[..., Any] = getattr(import_module(module), name)
        return called

    def call(*given: Any, **options: Any) -> Any:
        return found()(*given, **options)

    return call


@asynccontextmanager
async def imported_meanwhile(module: str) -> AsyncIterator[None]:
    """Import a module in a thread while the body runs: what the loop would else stop for when it is needed."""
    importing = asyncio.create_task(asyncio.to_thread(import_module, module))
    try:
        yield
    finally:
        await importing
