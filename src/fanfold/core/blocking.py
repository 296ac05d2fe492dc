"""Asynchronous work for callers that are not."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a thread with a loop of its own, so that a loop of the caller's thread is no obstacle.

    Blocks the calling thread; what `work` raises is raised here.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fanfold-blocking") as thread:
        return thread.submit(asyncio.run, work).result()
