import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fanfold.core.config import Settings, TelemetrySettings
from fanfold.core.telemetry.logging import Logs, _Active, configure_logging


class Written:
    """What the log writer wrote into a pipe, read by a thread."""

    def __init__(self, **settings: Any) -> None:
        self._read, self._write = os.pipe()
        self._chunks: list[bytes] = []
        self._thread = threading.Thread(target=self._drain)
        self._thread.start()
        self.logs: Logs = configure_logging(
            Settings(telemetry=TelemetrySettings(**settings)), descriptor=self._write
        )

    def _drain(self) -> None:
        while chunk := os.read(self._read, 65536):
            self._chunks.append(chunk)
        os.close(self._read)

    def close(self) -> None:
        if self._thread.is_alive():
            self.logs.close()
            os.close(self._write)
            self._thread.join()

    def raw(self) -> str:
        """Close the logging, and return everything it wrote."""
        self.close()
        return b"".join(self._chunks).decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw().split("\n") if line]


@pytest.fixture(autouse=True)
def _logging_left_as_it_was() -> Iterator[None]:
    loggers = [
        logging.getLogger(name) for name in ("", "fanfold", "uvicorn", "uvicorn.error", "uvicorn.access")
    ]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    active = _Active.put, _Active.level
    yield
    _Active.put, _Active.level = active
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


@pytest.fixture
def written() -> Iterator[Callable[..., Written]]:
    made: list[Written] = []

    def make(**settings: Any) -> Written:
        made.append(Written(**settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
