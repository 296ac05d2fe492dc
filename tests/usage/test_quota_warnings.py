"""The danger of a warning that nobody sees, or that takes its handler down."""

import asyncio
from pathlib import Path

import orjson
import pytest

from fanfold.core.config import Settings, TelemetrySettings
from fanfold.core.identifiers import uuid7
from fanfold.core.telemetry.logging import configure_logging
from fanfold.outbox.types import Message
from fanfold.outbox.writer import NO_TENANT, add
from fanfold.usage.quota_warnings import TOPIC, QuotaWarnings
from tests.fixtures.app import Product


def warning(**changes: object) -> Message:
    tenant = uuid7()
    payload = {
        "tenant_id": str(tenant), "period_start": "2026-11-01", "holder": "tenant", "api_key_id": None,
        "level": 80, "used": 800, "limit": 1000, **changes,
    }  # fmt: skip
    return Message(tenant_id=tenant, id=uuid7(), topic=TOPIC, payload=payload, attempts=1)


async def test_it_is_logged_and_counted(tmp_path: Path):
    path = tmp_path / "log"
    warnings, message = QuotaWarnings(), warning()
    with path.open("wb") as file:
        logs = configure_logging(
            Settings(telemetry=TelemetrySettings(log_level="INFO")), descriptor=file.fileno()
        )
        await warnings(message)
        logs.close()
    line = orjson.loads(path.read_bytes())
    assert (line["event"], line["level"]) == ("A quota is nearly used.", "warning")
    told = {name: line[name] for name in ("tenant_id", "percent", "period_start", "holder", "api_key_id")}
    assert told == {
        "tenant_id": str(message.tenant_id), "percent": 80, "period_start": "2026-11-01", "holder": "tenant",
        "api_key_id": None,
    }  # fmt: skip
    assert warnings.told == {80: 1, 100: 0}


async def test_a_payload_that_is_no_warning_is_refused():
    with pytest.raises(KeyError):
        await QuotaWarnings()(warning(level=50))


async def test_the_running_server_takes_warnings_and_shows_their_number(product: Product):
    message = warning(level=100)
    resources = product.app.state
    async with resources.database.operator_session() as session, session.begin():
        await add(session, NO_TENANT, TOPIC, message.payload)
    resources.relay.nudge()
    async with asyncio.timeout(30):
        while not resources.quota_warnings.told[100]:
            await asyncio.sleep(0.01)
    text = (await product.http().get("/metrics")).text
    assert 'fanfold_quota_warnings_total{level="100"} 1.0' in text
