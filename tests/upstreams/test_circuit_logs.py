"""What operators read of circuits: each process's own changes, and once for all that an upstream is down."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from fanfold.core.config import Settings, TelemetrySettings
from fanfold.core.identifiers import uuid7
from fanfold.core.telemetry.logging import configure_logging
from fanfold.fanout.breaker import CircuitChange
from fanfold.outbox.types import Message
from fanfold.upstreams.circuit_notes import CircuitNotes
from fanfold.upstreams.circuit_warnings import TOPIC, CircuitWarnings
from tests.fixtures.app import Product

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(tmp_path: Path):
    """Logs into a file; returns what reads it, once all is written."""
    path = tmp_path / "log"
    settings = Settings(telemetry=TelemetrySettings(log_level="INFO"))
    with path.open("wb") as file:
        logs = configure_logging(settings, descriptor=file.fileno())
        closed = False

        def read() -> list[dict[str, Any]]:
            nonlocal closed
            closed = True
            logs.close()
            return [orjson.loads(line) for line in path.read_bytes().splitlines()]

        yield read
        if not closed:
            logs.close()


def opening(**payload: object) -> Message:
    return Message(tenant_id=uuid7(), id=uuid7(), topic=TOPIC, payload=payload, attempts=1)


async def test_one_that_is_down_is_logged_and_counted(lines: Lines):
    upstream_id = str(uuid7())
    warnings, message = CircuitWarnings(), opening(upstream_id=upstream_id, upstream="translate")
    await warnings(message)
    (line,) = lines()
    assert (line["level"], line["upstream"], line["upstream_id"]) == ("warning", "translate", upstream_id)
    assert line["tenant_id"] == str(message.tenant_id)
    assert warnings.told == 1


async def test_a_payload_that_is_no_opening_is_refused():
    warnings = CircuitWarnings()
    with pytest.raises(KeyError):
        await warnings(opening(upstream="translate"))
    assert warnings.told == 0


async def test_each_change_is_logged_by_the_process_that_made_it(product: Product, lines: Lines):
    notes, owner, upstream_id = CircuitNotes(product.app.state.database), str(uuid7()), uuid7()
    for opened_at in (1.0, None):
        change = CircuitChange(
            owner=owner, upstream_id=upstream_id, slug="translate", opened_at=opened_at, retry_at=6.0,
            forgotten_at=70.0,
        )  # fmt: skip
        notes.note(change)
    mine = [line for line in lines() if line.get("upstream_id") == str(upstream_id)]
    assert [line["event"] for line in mine] == ["A circuit opened.", "A circuit closed."]
    assert {(line["tenant_id"], line["upstream"]) for line in mine} == {(owner, "translate")}
