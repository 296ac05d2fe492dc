"""The product's application, with a watch on its event loop: `uvicorn tests.chaos.watched:app`.

`GET /watch` answers the longest gaps between two ticks since the last time, and forgets them.

A gap of the wall clock alone would measure the machine: another process may have had the core. Held is what the
loop could not run for a reason of our own: at most the gap without the time in which its thread was ready and
the kernel ran something else (schedstat), and at most the CPU time that this whole process used up in it, so that
both a callback that runs long and a thread that keeps the GIL count, and a stranger on the core does not.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from starlette.types import Receive, Scope, Send

from fanfold.main import app as product

TICK_S = 0.001


@dataclass(slots=True)
class Longest:
    """Milliseconds; `ticks` says that the watch was awake."""

    held_ms: float = 0.0
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    ticks: int = 0

    def take(self, *, wall_s: float, queued_s: float, process_s: float, thread_s: float) -> None:
        self.held_ms = max(self.held_ms, 1000 * min(wall_s - queued_s, process_s))
        self.wall_ms = max(self.wall_ms, 1000 * wall_s)
        self.cpu_ms = max(self.cpu_ms, 1000 * thread_s)
        self.ticks += 1


class Watch:
    """Ticks on the loop that it is started on."""

    def __init__(self) -> None:
        self.longest = Longest()

    async def run(self) -> None:
        with _schedstat() as file:
            before = _now(file)
            while True:
                await asyncio.sleep(TICK_S)
                now = _now(file)
                wall, queued, process, thread = (new - old for new, old in zip(now, before, strict=True))
                self.longest.take(wall_s=wall, queued_s=queued, process_s=process, thread_s=thread)
                before = now

    def tell(self) -> bytes:
        told, self.longest = self.longest, Longest()
        return json.dumps(asdict(told)).encode()


@contextmanager
def _schedstat() -> Iterator[int]:
    file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _now(schedstat: int) -> tuple[float, float, float, float]:
    queued_ns = int(os.pread(schedstat, 64, 0).split()[1])
    return time.perf_counter(), queued_ns / 1e9, time.process_time(), time.thread_time()


watch = Watch()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        watching = asyncio.create_task(watch.run())
        try:
            await product(scope, receive, send)
        finally:
            watching.cancel()
    elif scope.get("path") == "/watch":
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json")],
        }
        await send(start)
        await send({"type": "http.response.body", "body": watch.tell()})
    else:
        await product(scope, receive, send)
