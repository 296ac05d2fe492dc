"""A ledger that does not answer: the request's own deadline counts, not the ledger's patience."""

import asyncio
from typing import Any

from fanfold.processing.dependencies import get_ledger
from tests.fixtures.app import Product


class SilentLedger:
    """Neither grants nor refuses."""

    async def reserve(self, **_reservation: Any) -> None:
        await asyncio.Event().wait()


async def test_a_reserve_that_is_not_answered_by_the_deadline_is_503(own_product: Product):
    tenant = await own_product.tenant()
    await tenant.upstream(own_product.zoo.url("ok"))
    own_product.app.dependency_overrides[get_ledger] = SilentLedger
    async with asyncio.timeout(30):
        answer = await tenant.http.post("/v1/process", json={"text": "a", "deadline_s": 1})
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert answer.headers["Retry-After"] == "1"
    assert own_product.zoo.requests.total() == 0
