"""The whole application against the same plain model: over HTTP, with upstreams that fail and clients that leave."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fanfold.core.identifiers import uuid7
from tests.chaos.ledger_model import Asked, Kind, LedgerModel, Plan, Tenant
from tests.chaos.ledger_wishes import pick, picks
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures

EXAMPLES = 6
MAX_S = 60.0
# Behaviour of the zoo, with its options as an upstream: whether its answer is accepted.
UPSTREAMS: dict[str, tuple[dict[str, Any], bool]] = {
    "ok": ({}, True),
    "slow": ({}, True),
    "500": ({}, False),
    "reset": ({}, False),
    "garbage": ({}, False),
    "wrong-type": ({}, False),
    "hang": ({"timeout_s": 0.1}, False),
}
# Asked by those who hang up, and by nobody else: its circuit never opens.
LEFT = "left"
units = st.integers(0, 40)
# What takes seconds happens seldom.
seldom = st.sampled_from([*[False] * 11, True])


class House:
    """The running application on its loop. `restart` ends it and starts another on the same database."""

    def __init__(self, runner: asyncio.Runner, database: TestDatabase) -> None:
        self._runner, self._database = runner, database
        self._stack = AsyncExitStack()
        self.counts: Counter[str] = Counter()

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def open(self) -> None:
        running = running_product(self._database, product_settings(self._database))
        self.product: Product = await self._stack.enter_async_context(running)
        self.operator = await self.product.operator()

    async def close(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def restart(self) -> None:
        await self.close()
        await self.open()


class ProductMachine(RuleBasedStateMachine):
    """One tenant, its keys and upstreams; after each request the answer and the usage are the model's."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house, self.model = house, LedgerModel(plans={"pro": Plan(100_000, "month", overage=False)})
        self.start: date = datetime.now(UTC).date().replace(day=1)
        self.keys: list[tuple[UUID | None, str]] = []
        self.upstreams: dict[str, tuple[str, int]] = {}

    @initialize(
        own=units,
        prepaid=st.integers(0, 20),
        prices=st.lists(st.sampled_from([1, 2, 3, 0]), min_size=7, max_size=7),
    )
    def begin(self, own: int, prepaid: int, prices: Sequence[int]) -> None:
        self.house.counts["examples"] += 1
        self.client: TenantClient = self.house.run(self.house.product.tenant(monthly_units=own))
        self.tenant = self.client.id
        self.model.tenants[self.tenant] = Tenant("pro", own)
        key = self.house.run(self.client.http.get("/v1/api-keys")).json()["data"][0]["id"]
        self.model.keys[UUID(key)] = None
        self.keys.append((UUID(key), self.client.key))
        # Never limited: a key with limits of its own changes none.
        self.manager = self.house.run(self.house.product.key(self.tenant, ["keys:write", "process"]))
        for (name, (options, _)), price in zip(UPSTREAMS.items(), prices, strict=True):
            url = self._url(name)
            made = self.house.run(self.client.upstream(url, units_per_call=price, max_attempts=1, **options))
            self.upstreams[name] = made["slug"], price
        made = self.house.run(self.client.upstream(self._url(LEFT), units_per_call=prices[0], max_attempts=1))
        self.upstreams[LEFT] = made["slug"], prices[0]
        if prepaid:
            self.grant(kind="prepaid", granted=prepaid)

    def _url(self, name: str) -> str:
        return self.house.product.zoo.url("hang" if name == LEFT else name, ms=5)

    @rule(kind=st.sampled_from(["period", "prepaid"]), granted=st.integers(1, 30))
    def grant(self, kind: str, granted: int) -> None:
        body = {"units": granted, "kind": kind, "reason": "谢谢"}
        self._as_operator("POST", "/grants", body, 201)
        start = self.start if kind == "period" else None
        self.model.grants += ((self.tenant, start, granted),)

    @rule(own=units, overage=st.booleans())
    def change_limits(self, own: int, *, overage: bool) -> None:
        self._as_operator("PATCH", "/limits", {"monthly_units": own, "overage_allowed": overage}, 200)
        self.model.tenants[self.tenant] = Tenant("pro", own, overage)

    @rule(budget=units)
    def new_key(self, budget: int) -> None:
        body = {"name": "钥匙", "scopes": ["process"], "budget_units": budget}
        answer = self.house.run(self._http(self.manager).post("/v1/api-keys", json=body))
        assert answer.status_code == 201, answer.text
        key = UUID(answer.json()["id"])
        self.model.keys[key] = budget
        self.keys.append((key, answer.json()["key"]))

    @rule(number=picks, budget=st.none() | units)
    def change_budget(self, number: int, budget: int | None) -> None:
        key, _ = pick(number, self.keys)
        body = {"budget_units": budget}
        answer = self.house.run(self._http(self.manager).patch(f"/v1/api-keys/{key}", json=body))
        assert answer.status_code == 200, answer.text
        assert key is not None
        self.model.keys[key] = budget

    @rule(
        number=picks,
        names=st.lists(st.sampled_from([*UPSTREAMS]), min_size=1, max_size=3),
        chunks=st.integers(1, 6),
    )
    def process(self, number: int, names: Sequence[str], chunks: int) -> None:
        self._process(number, names, chunks)

    @rule(number=picks, chunks=st.integers(3, 12))
    def process_well(self, number: int, chunks: int) -> None:
        self._process(number, ["ok"], chunks)

    @rule(number=picks, chunks=st.integers(1, 6))
    def hang_up(self, number: int, chunks: int) -> None:
        """The client leaves while every call hangs: nothing is billed, nothing stays held."""
        (key, secret), (slug, price) = pick(number, self.keys), self.upstreams[LEFT]
        expected = self._reserve(key, chunks * price)
        body = {"text": "字" * chunks, "split": {"size": 1}, "upstreams": [slug], "timeout_s": 30}
        status = self.house.run(self._leave(secret, body))
        assert status == (499 if expected is None else 402)
        if expected is None:
            self.house.counts["hung up"] += 1
            self._settle(key, ())
        self._check_usage()

    @rule(really=seldom)
    def restart(self, *, really: bool) -> None:
        if not really:
            return
        self.house.run(self.house.restart())
        self.house.counts["restarts"] += 1
        for name, (slug, _) in self.upstreams.items():  # the zoo has another port now
            found = self.house.run(self._http().get("/v1/upstreams?limit=200")).json()["data"]
            (own,) = (one["id"] for one in found if one["slug"] == slug)
            answer = self.house.run(self._http().patch(f"/v1/upstreams/{own}", json={"url": self._url(name)}))
            assert answer.status_code == 200, answer.text

    @rule(really=seldom)
    def suspend_and_resume(self, *, really: bool) -> None:
        if not really:
            return
        for path, status in (("/suspend", 403), ("/resume", 200)):
            self._as_operator("POST", path, None, 200)
            self.house.run(self._until(status))
        self.house.counts["suspended"] += 1

    def _process(self, number: int, names: Sequence[str], chunks: int) -> None:
        key, secret = pick(number, self.keys)
        chosen = list(dict.fromkeys(names))
        calls = [chosen[index % len(chosen)] for index in range(chunks)]
        expected = self._reserve(key, sum(self.upstreams[name][1] for name in calls))
        body = {
            "text": "字" * chunks,
            "split": {"size": 1},
            "upstreams": [self.upstreams[name][0] for name in chosen],
        }
        answer = self.house.run(self._http(secret).post("/v1/process", json=body))
        self.house.counts[str(answer.status_code)] += 1
        if expected is not None:
            assert answer.status_code == 402, answer.text
            assert answer.json()["remaining"] == expected
        else:
            assert answer.status_code == 200, answer.text
            good = [
                (index, self.upstreams[name][1]) for index, name in enumerate(calls) if UPSTREAMS[name][1]
            ]
            _, remaining, *warnings = self._settle(key, tuple(good))
            usage = answer.json()["usage"]
            assert (usage["units"], usage["quota_remaining"]) == (sum(price for _, price in good), remaining)
            said = zip(("quota", "budget"), warnings, strict=True)
            header = ", ".join(f'"{holder}";p={level}' for holder, level in said if level)
            assert answer.headers.get("quota-warning", "") == header
            self.house.counts["units"] += usage["units"]
        self._check_usage()

    def _reserve(self, key: UUID | None, needed: int) -> int | None:
        """Reserve in the model; return what remains where it refuses."""
        self.request = uuid7()
        word, *rest = self.model.flush([self._asked(Kind.RESERVE, key, units=needed)])[0]
        return None if word == "reserved" else int(rest[0])

    def _settle(self, key: UUID | None, events: tuple[tuple[int, int], ...]) -> tuple[Any, ...]:
        return self.model.flush([self._asked(Kind.SETTLE, key, events=events)])[0]

    def _asked(self, kind: Kind, key: UUID | None, **members: Any) -> Asked:
        return Asked(
            kind=kind, tenant=self.tenant, request=self.request, start=self.start, key=key, **members
        )

    def _check_usage(self) -> None:
        usage = self.house.run(self._http().get("/v1/usage")).json()
        row = self.tenant, self.start
        model = self.model
        assert (usage["used"], usage["reserved"], usage["granted"], usage["remaining"]) == (
            model.used(*row),
            model.reserved(*row),
            model.limit(*row),
            model.remaining(*row),
        )

    def _http(self, secret: str | None = None) -> Any:
        return self.house.product.http(secret or self.client.key)

    def _as_operator(self, method: str, path: str, body: Any, status: int) -> None:
        url = f"/v1/admin/tenants/{self.tenant}{path}"
        answer = self.house.run(self.house.operator.request(method, url, json=body))
        assert answer.status_code == status, answer.text

    async def _until(self, status: int) -> None:
        async with asyncio.timeout(60):
            while (await self._http().get("/v1/usage")).status_code != status:
                await asyncio.sleep(0.05)

    async def _leave(self, secret: str, body: Any) -> int:
        """Ask, and hang up once the upstream has the first call; return the status, sent to nobody."""
        zoo, sent, statuses = self.house.product.zoo, False, []
        before = zoo.requests["hang"]

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
            while zoo.requests["hang"] == before:
                await asyncio.sleep(0.002)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        request = self._http(secret).build_request("POST", "/v1/process", json=body)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/process",
            "raw_path": b"/v1/process",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": ("fanfold.test", 80),
        }
        async with asyncio.timeout(60):
            await self.house.product.app(scope, receive, send)
        return int(statuses[0])


@pytest.fixture
def house(database_urls: TestDatabase) -> Iterator[House]:
    with asyncio.Runner() as runner:
        house = House(runner, database_urls)
        house.run(house.open())
        try:
            yield house
        finally:
            house.run(house.close())


@pytest.mark.proof
def test_the_product_does_what_the_plain_model_does(house: House, figures: Figures, *, full: bool):
    first_seed = random.SystemRandom().getrandbits(32) if full else 0
    began, rounds = monotonic(), 0
    while rounds < (60 // EXAMPLES if full else 1) and monotonic() - began < MAX_S:
        number = first_seed + rounds
        chosen = settings(
            max_examples=EXAMPLES if full else 4,
            stateful_step_count=30,
            deadline=None,
            derandomize=not full,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        machine: Any = partial(ProductMachine, house)
        print(f"seed {number if full else 'fixed'}")
        run_state_machine_as_test(seed(number)(machine) if full else machine, settings=chosen)
        rounds += 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(house.counts.items()))
    figures(
        f"product machine ({monotonic() - began:.0f} s, first seed {first_seed if full else 'fixed'}): "
        f"{told}; 0 differences"
    )
