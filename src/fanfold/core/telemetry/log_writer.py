"""Log lines leave through one thread, so that a slow disk or a full pipe never stops the event loop."""

import json
import os
import select
import threading
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import orjson

from fanfold.core.telemetry.log_fields import mask

GATHER_S = 0.05
BATCH = 256
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z

Entry = Mapping[str, Any]
_END = b""  # wakes the thread; nothing of it is written


class LogWriter:
    """Writes entries as JSON lines to a file descriptor; at most `size` wait, what is more is dropped and counted.

    What is put as bytes is a line already, with nothing in it that would have to be masked.
    """

    def __init__(self, descriptor: int, *, size: int) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._size = size
        self._entries: SimpleQueue[Entry | bytes] = SimpleQueue()
        self._is_closed = self._abandoned = False
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry | bytes) -> None:
        """Hand an entry over; never waits."""
        if self._is_closed or self._entries.qsize() >= self._size:
            self._drop([entry])
        else:
            self._entries.put(entry)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`; the rest is dropped. Later entries are dropped too."""
        self._is_closed = True
        self._stopping.set()
        self._entries.put(_END)
        self._thread.join(timeout_s)
        self._abandoned = True
        self._drop(self._taken(self._entries.qsize()))

    def _drop(self, lost: list[Entry | bytes]) -> None:
        with self._counting:
            self.dropped += sum(entry != _END for entry in lost)

    def _run(self) -> None:
        is_last = False
        while not is_last and not self._abandoned:
            taken = [self._entries.get()]
            while taken and not self._abandoned:
                # One turn of the thread for many lines: for each turn it takes the interpreter from the event loop.
                if len(taken) < BATCH:
                    self._stopping.wait(GATHER_S)
                    taken += self._taken(BATCH - len(taken))
                is_last = is_last or _END in taken
                self._write(taken)
                taken = self._taken(BATCH)
            self._drop(taken)

    def _taken(self, most: int) -> list[Entry | bytes]:
        taken: list[Entry | bytes] = []
        with suppress(Empty):
            while len(taken) < most:
                taken.append(self._entries.get_nowait())
        return taken

    def _write(self, taken: list[Entry | bytes]) -> None:
        lines = b"".join([each if isinstance(each, bytes) else mask(line_of(each)) for each in taken])
        try:
            while lines:
                lines = lines[self._write_some(lines) :]
        except OSError:  # nobody reads any more, or the disk is full: serving goes on without logs
            self._drop(taken)

    def _write_some(self, lines: bytes) -> int:
        try:
            return os.write(self._descriptor, lines)
        except BlockingIOError:  # standard error may be a terminal that somebody made non-blocking
            select.select([], [self._descriptor], [], 1.0)
            return 0


def line_of(entry: Entry) -> bytes:
    """Return an entry as a line of JSON."""
    try:
        return orjson.dumps(entry, default=str, option=_OPTIONS)
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer of more than 64 bits
        return json.dumps(entry, default=str).encode() + b"\n"
