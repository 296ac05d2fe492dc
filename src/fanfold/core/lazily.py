"""Imports put off until what they hold is called: the one place for it (docs/decisions/start-up.md)."""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

_imported: set[str] = set()


def on_call(module: str, name: str) -> Callable[..., Any]:
    """Return what calls `name` of `module`, which is imported at the first call: for what most processes never need."""

    @cache
    def found() -> Callable[..., Any]:
        called: Callable[..., Any] = getattr(import_module(module), name)
        return called

    def call(*given: Any, **options: Any) -> Any:
        return found()(*given, **options)

    return call


async def imported(module: str) -> None:
    """Import a module in a thread, if it is not there: what the loop would else stop for."""
    if module not in _imported:
        # Also where another thread is at it, and half of the module is there.
        await asyncio.to_thread(import_module, module)
        _imported.add(module)
