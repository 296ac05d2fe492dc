"""A request told as events: what comes when, and that it is billed however it is left."""

import asyncio
from typing import Any

import pytest

from fanfold.core.errors import NotReady
from fanfold.core.events import Unread
from fanfold.processing.streaming import read_by
from fanfold.usage.types import Settled
from tests.fixtures.app import Product
from tests.processing.streams import admitted, read_until, service_of, settled, told


async def test_the_events_are_the_answer_in_pieces_and_the_last_one_is_billed(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), units_per_call=2)
    options = {"split": {"size": 1}, "fold": {"by": "concat"}}
    plain = await tenant.process("折👨‍👩‍👧‍👦a", **options)
    admission = await admitted(product, tenant, "折👨‍👩‍👧‍👦a", **options)
    events = await told(product, admission)
    names = [name for name, _ in events]
    assert (names[0], names[-2:]) == ("accepted", ["progress", "done"])
    assert events[0][1] == {"id": str(admission.id), "total": 3, "units_max": 6}
    chunks = [value for name, value in events if name == "chunk"]
    assert sorted(map(without_time, chunks), key=index) == list(map(without_time, plain["results"]))
    assert events[-2][1] == {"done": 3, "total": 3}
    remaining = plain["usage"]["quota_remaining"] - 6
    assert events[-1][1] == {
        **{name: value for name, value in plain.items() if name != "results"},
        "id": str(admission.id),
        "usage": {**plain["usage"], "quota_remaining": remaining},
    }
    assert (await tenant.usage())["used"] == 12


async def test_a_chunk_is_told_when_it_has_finished_not_at_the_end(product: Product):
    tenant = await product.tenant()
    fast = await tenant.upstream(product.zoo.url("ok"))
    never = await tenant.upstream(product.zoo.url("hang"), timeout_s=60)
    admission = await admitted(
        product, tenant, "ab", split={"size": 1}, upstreams=[never["slug"], fast["slug"]]
    )
    seen = await asyncio.wait_for(read_until(product, admission, "chunk"), 30)
    assert [event.name for event in seen] == ["accepted", "chunk"]
    assert (await tenant.usage())["used"] == 1, "settled when the context is left"


async def test_who_leaves_ends_what_runs_and_pays_what_was_done(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("slow", ms=50), max_concurrency=1)
    admission = await admitted(product, tenant, "abcdefghij" * 20, split={"size": 1})
    await read_until(product, admission, "chunk")
    async with asyncio.timeout(30):
        while (usage := await tenant.usage())["reserved"]:
            await asyncio.sleep(0.01)
    done = product.zoo.served["slow"]
    # One answer may have been on its way to us: it was given and not accepted.
    assert max(1, done - 1) <= usage["used"] <= done < 100
    await asyncio.sleep(0.2)
    assert product.zoo.served["slow"] == done, "what was left still runs"


async def test_who_leaves_before_the_first_event_pays_nothing(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("slow", ms=5_000))
    admission = await admitted(product, tenant, "a")
    async with service_of(product).streamed(admission):
        pass
    await settled(tenant, 0)


async def test_a_failing_reader_gets_its_own_error_and_what_was_done_is_billed(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    admission = await admitted(product, tenant, "a")

    async def read() -> None:
        async with service_of(product).streamed(admission) as events:
            async for event in events:
                if event.name == "chunk":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()
    await settled(tenant, 1)


async def test_where_it_cannot_be_billed_the_last_event_is_the_problem(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    admission = await admitted(product, tenant, "a")
    service = service_of(product)

    class Away:
        async def settle(self, *_arguments: object) -> None:
            raise NotReady("The database is away.", headers={"Retry-After": "1"})

    service._billing._ledger = Away()  # type: ignore[assignment] # the ledger, away from now on
    async with service.streamed(admission) as events:
        told = [event async for event in events]
    assert [event.name for event in told] == ["accepted", "chunk", "progress", "error"]
    assert b'"code":"not-ready"' in told[-1].data
    assert b'"instance":"urn:uuid:' in told[-1].data


async def test_progress_is_told_while_nothing_else_comes_and_seldom_while_much_does(product: Product):
    tenant = await product.tenant()
    never = await tenant.upstream(product.zoo.url("hang"), timeout_s=60)
    fast = await tenant.upstream(product.zoo.url("ok"))
    slugs = [fast["slug"], never["slug"]]
    admission = await admitted(product, tenant, "ab", split={"size": 1}, upstreams=slugs)
    seen = await asyncio.wait_for(read_until(product, admission, "progress"), 30)
    assert [event.name for event in seen] == ["accepted", "chunk", "progress"]
    assert seen[-1].data == b'{"done":1,"total":2}'
    slow = await tenant.upstream(product.zoo.url("slow", ms=10), max_concurrency=1)
    admission = await admitted(product, tenant, "c" * 100, split={"size": 1}, upstreams=[slow["slug"]])
    started = asyncio.get_running_loop().time()
    events = await told(product, admission)
    took_s = asyncio.get_running_loop().time() - started
    progress = [value["done"] for name, value in events if name == "progress"]
    assert progress == sorted(set(progress))
    assert 2 <= len(progress) <= 4 * took_s + 1
    assert progress[-1] == 100


async def test_who_has_not_read_it_when_its_time_is_over_gets_no_more_and_pays_what_was_done(
    product: Product,
):
    tenant = await product.tenant()
    slugs = [(await tenant.upstream(product.zoo.url(path), timeout_s=60))["slug"] for path in ("ok", "hang")]
    admission = await admitted(product, tenant, "ab", split={"size": 1}, upstreams=slugs, deadline_s=60)
    service = service_of(product)
    service._read_margin_s = -58.0

    async def read() -> None:
        async with service.streamed(admission) as events:
            async for _ in events:
                pass

    with pytest.raises(Unread):
        await asyncio.wait_for(read(), 30)
    await settled(tenant, 1)


async def test_a_time_out_of_the_readers_own_is_none_of_the_streams():
    async def late() -> None:
        async with read_by(asyncio.get_running_loop().time() + 60):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await late()


def without_time(result: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in result.items() if name != "latency_ms"}


def index(result: dict[str, Any]) -> int:
    return int(result["index"])


async def test_who_leaves_while_it_is_being_billed_has_left_when_it_is_billed(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    admission = await admitted(product, tenant, "a")
    service, ledger = service_of(product), product.app.state.ledger
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def settle(self, *arguments: Any) -> Settled:
            begun.set()
            await goes_on.wait()
            settled: Settled = await ledger.settle(*arguments)
            return settled

    service._billing._ledger = Slow()  # type: ignore[assignment] # the ledger, slow from now on
    executing = asyncio.create_task(service.execute(admission))
    async with asyncio.timeout(30):
        await begun.wait()
        executing.cancel()
        await asyncio.wait([executing], timeout=0.2)
        assert not executing.done()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await executing
    assert (await tenant.usage())["used"] == 1
