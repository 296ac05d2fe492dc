"""The danger of a warning that nobody sees, or that takes its handler down."""

import asyncio
import re
from pathlib import Path

import orjson
import pytest

from fanfold.core.config import Settings, TelemetrySettings
from fanfold.core.identifiers import uuid7
from fanfold.core.telemetry.logging import configure_logging
from fanfold.outbox.types import Message
from fanfold.usage.quota_warnings import TOPIC, QuotaWarnings
from tests.fixtures.app import Product
from tests.fixtures.database import connect


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


async def test_what_a_request_has_used_up_is_told_by_the_running_server(product: Product):
    """From the flush that used the last unit, over the outbox, to the log and the metric; other tests' are told too."""
    tenant = await product.tenant(monthly_units=4)
    await tenant.upstream("https://echo.example/", kind="echo")
    await tenant.process("一二三四", split={"size": 1})
    resources = product.app.state
    resources.relay.nudge()
    superuser = await connect(product.database.superuser_url)
    try:
        async with asyncio.timeout(30):
            while await superuser.fetchval(
                "select count(*) from fanfold.outbox where tenant_id = $1", tenant.id
            ):
                await asyncio.sleep(0.01)
    finally:
        await superuser.close()
    assert resources.quota_warnings.told[100] >= 1
    text = (await product.http().get("/metrics")).text
    assert re.search(r'^fanfold_quota_warnings_total{level="100"} [1-9]', text, re.MULTILINE)
