"""The thread that writes log lines takes many at a turn, however fast they come."""

import os
import select
import threading
import time

import pytest

from fanfold.core.telemetry import log_writer
from fanfold.core.telemetry.log_writer import BATCH, GATHER_S, LogWriter


class Turns:
    """What the thread does: `waits` for more lines, and writes of so many `lines`, each bringing the next few."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, coming: list[int]) -> None:
        self.done: list[str | int] = []
        self.is_over = threading.Event()
        self._coming = coming
        read, write = os.pipe()
        self.writer = LogWriter(write, size=10_000)
        monkeypatch.setattr(self.writer._stopping, "wait", self._wait)
        monkeypatch.setattr(self.writer, "_write", self._write)
        self.writer.put(b"first")
        assert self.is_over.wait(20)
        self.writer.close()
        os.close(read)
        os.close(write)

    def _wait(self, seconds: float) -> None:
        assert seconds == GATHER_S
        self.done.append("waits")

    def _write(self, taken: list[log_writer.Entry | bytes]) -> None:
        self.done.append(len([line for line in taken if line]))
        if not self._coming:
            self.is_over.set()
            return
        for _ in range(self._coming.pop(0)):
            self.writer.put(b"line")


def test_lines_that_come_while_others_are_written_are_waited_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Turns(monkeypatch, coming=[3, 2]).done[:6] == ["waits", 1, "waits", 3, "waits", 2]


def test_a_line_that_comes_as_a_turn_ends_is_written_though_the_writer_is_closed_then() -> None:
    read, write = os.pipe()
    is_empty, goes_on = threading.Event(), threading.Event()

    class Slow(LogWriter):
        def _drop(self, lost: list[log_writer.Entry | bytes]) -> None:
            if threading.current_thread() is self._thread:
                is_empty.set()
                goes_on.wait(20)
            super()._drop(lost)

    writer = Slow(write, size=100)
    writer.put(b"first ")
    assert is_empty.wait(20)
    writer.put(b"last")
    closing = threading.Thread(target=writer.close, args=(20,))
    closing.start()
    while not writer._stopping.is_set():
        time.sleep(0.001)
    goes_on.set()
    closing.join(20)
    assert (os.read(read, 100), writer.dropped) == (b"first last", 0)
    os.close(read)
    os.close(write)


def test_a_thread_that_was_given_up_ends_once_it_can() -> None:
    read, write = os.pipe()
    writer = LogWriter(write, size=100)
    writer.put(b"x" * 1_000_000)  # more than a pipe takes
    assert select.select([read], [], [], 20)[0]
    writer.close(timeout_s=0.01)
    until = time.monotonic() + 20
    while writer._thread.is_alive() and time.monotonic() < until:
        if select.select([read], [], [], 0.05)[0]:
            os.read(read, 65536)
    assert not writer._thread.is_alive()
    os.close(read)
    os.close(write)


def test_a_full_turn_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Turns(monkeypatch, coming=[BATCH + 1]).done[:5] == ["waits", 1, BATCH, "waits", 1]
