"""Work off the event loop, in one bounded pool of threads."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

from fanfold.core.errors import Overloaded

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


# Python's own 5 ms make every step of the loop wait that long for a thread that computes.
SWITCH_S = 0.001


@contextmanager
def prompt_switches() -> Iterator[None]:
    """Let whoever waits for the interpreter, the event loop first of all, have it within 1 ms from another thread."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Offload:
    """Runs calls in `threads` threads; at most `queue` more wait for one, the next is refused.

    The waiting calls are kept here, not in the executor: it cannot forget the arguments (a text of megabytes) of
    a call whose caller has gone. The executor's own queue holds tokens, each good for one call, and no more of
    them than calls have ever waited at once.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self.threads = threads
        self.queue = queue
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="offload")
        self._lock = threading.Lock()
        self._waiting: dict[Future[Any], Callable[[], Any]] = {}
        self._running = 0
        self._tokens = 0
        self._closed = False

    @property
    def running(self) -> int:
        """Calls that have a thread, those too whose caller has gone."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return len(self._waiting)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return `function(*args)`, run in a thread within the caller's context variables.

        A caller that is cancelled gives its place back at once; what already runs, runs to its end.
        Raises `Overloaded` where `queue` calls wait already.
        """
        context = contextvars.copy_context()
        future = self._enter(lambda: context.run(function, *args))
        try:
            return await asyncio.wrap_future(future)
        finally:
            with self._lock:
                self._waiting.pop(future, None)

    def close(self) -> None:
        """Refuse new calls and those that wait; does not wait for those that run."""
        with self._lock:
            self._closed = True
            abandoned, self._waiting = list(self._waiting), {}
        for future in abandoned:
            if future.set_running_or_notify_cancel():
                future.set_exception(_refusal())
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _enter(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._closed or self._running + len(self._waiting) >= self.threads + self.queue:
                raise _refusal()
            self._waiting[future] = call
            if self._tokens < len(self._waiting):
                self._tokens += 1
                self._executor.submit(self._take)
        return future

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._lock:
            self._tokens -= 1
            while self._waiting:
                future = next(iter(self._waiting))
                call = self._waiting.pop(future)
                if future.set_running_or_notify_cancel():
                    self._running += 1
                    return future, call
        return None  # the caller has gone, or close() came first

    def _take(self) -> None:
        taken = self._next()
        if taken is None:
            return
        future, call = taken
        del taken
        try:
            result = call()
        except StopIteration:  # no asyncio future takes one: the caller would wait for ever
            self._leave()
            future.set_exception(RuntimeError("the offloaded function raised StopIteration"))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, which raises it
            self._leave()
            future.set_exception(error)
        else:
            self._leave()
            future.set_result(result)
        finally:
            del (
                future
            )  # else an exception holds this frame, which holds the future, which holds the exception

    def _leave(self) -> None:
        with self._lock:
            self._running -= 1


def _refusal() -> Overloaded:
    return Overloaded("The server has too much work queued. Try again shortly.", headers={"Retry-After": "1"})
