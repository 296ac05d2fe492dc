"""Log lines leave through one thread, so that a slow disk or a full pipe never stops the event loop."""

import json
import os
import select
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson

from fanfold.core.telemetry.log_fields import mask

GATHER_S = 0.02
BATCH = 256
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z

Entry = Mapping[str, Any]


class LogWriter:
    """Writes entries as JSON lines to a file descriptor; at most `size` wait, what is more is dropped and counted.

    What is put as bytes is a line already, with nothing in it that would have to be masked.
    """

    def __init__(self, descriptor: int, *, size: int) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._size = size
        self._entries: deque[Entry | bytes] = deque()
        self._abandoned = False
        self._counting = threading.Lock()
        self._filled = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry | bytes) -> None:
        """Hand an entry over; never waits."""
        if len(self._entries) >= self._size or self._stopping.is_set():
            self._drop(1)
            return
        self._entries.append(entry)
        if not self._filled.is_set():
            self._filled.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`; the rest is dropped. Later entries are dropped too."""
        self._stopping.set()
        self._filled.set()
        self._thread.join(timeout_s)
        self._abandoned = True
        self._drop(len(self._entries))

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._filled.wait()
            self._stopping.wait(GATHER_S)  # one turn of the thread for many lines
            self._filled.clear()
            while self._entries and not self._abandoned:
                self._write(min(len(self._entries), BATCH))

    def _write(self, count: int) -> None:
        taken = [self._entries.popleft() for _ in range(count)]
        lines = b"".join([each if isinstance(each, bytes) else mask(line_of(each)) for each in taken])
        try:
            while lines:
                lines = lines[self._write_some(lines) :]
        except OSError:  # nobody reads any more, or the disk is full: serving goes on without logs
            self._drop(count)

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
