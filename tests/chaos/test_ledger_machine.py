"""The ledger against a plain model: whatever is asked, in whatever company, both say and keep the same to the unit."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fanfold.core.identifiers import uuid7
from tests.chaos.ledger_lanes import Lanes
from tests.chaos.ledger_model import LedgerModel, Plan, Tenant
from tests.chaos.ledger_orders import Told, explanations
from tests.chaos.ledger_pages import broken_truths, difference, pages_of, read_pages
from tests.chaos.ledger_wishes import SWEEP, Desk, Wish, ended, pick, picks, wishes
from tests.fixtures.database import TestDatabase, TestServer
from tests.fixtures.figures import Figures

# Shortly before a day, a week, a month and a year end; and amid all of them.
STARTS = ("2026-11-18T12:00", "2026-11-30T23:50", "2026-12-31T23:50", "2027-01-03T23:50", "2028-02-29T00:00")
PLANS = {
    "machine-day": Plan(40, "day", overage=False),
    "machine-week": Plan(25, "week", overage=False),
    "machine-month": Plan(60, "month", overage=False),
    "machine-open": Plan(20, "month", overage=True),
}
EXAMPLES = 25
MAX_S = 190.0
units = st.integers(0, 80)
budgets = st.none() | st.integers(0, 30)
moments = st.sampled_from([0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005])
groups = st.lists(wishes, min_size=1, max_size=4)
small_groups = st.lists(wishes, min_size=1, max_size=3)


class Bank:
    """The running side: a database of its own, two ledgers, and the clock that they are told."""

    def __init__(self, runner: asyncio.Runner, database: TestDatabase) -> None:
        self.runner = runner
        self.now = datetime.fromisoformat(STARTS[0]).replace(tzinfo=UTC)
        self.counts: Counter[str] = Counter()
        self.first_failure = ""
        self.lanes = Lanes(database, lambda: self.now)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def open(self) -> None:
        self.run(self.lanes.open())
        for code, plan in PLANS.items():
            self.execute(
                "insert into fanfold.plans select $1, $2, requests_per_minute, burst, max_concurrent_requests, "
                "max_text_chars, max_chunks, max_upstreams, max_api_keys, $3, retention_days, $4 "
                "from fanfold.plans where code = 'free'",
                code, plan.units, plan.overage, plan.period,
            )  # fmt: skip
        bystander = uuid7()
        self.add_tenant(bystander, "machine-open")
        self.run(self.lanes.have_nothing_of(bystander, self.now))

    def close(self) -> None:
        self.run(self.lanes.close())

    def execute(self, statement: str, *arguments: Any) -> None:
        self.run(self.lanes.reader.execute(statement, *arguments))

    def add_tenant(self, tenant: Any, plan: str) -> None:
        self.execute(
            "insert into fanfold.tenants (id, slug, name, plan) values ($1, $2, '租户', $3)",
            tenant, f"t-{tenant}", plan,
        )  # fmt: skip


class LedgerMachine(RuleBasedStateMachine):
    """Rules are what may happen; after each of them the database holds what the model holds.

    No precondition asks for what a race may have decided: Hypothesis would find other rules when it repeats an example.
    """

    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.bank, self.model, self.desk = bank, LedgerModel(plans=dict(PLANS)), Desk()
        self.history: list[Told] = []
        for code, plan in PLANS.items():
            self._set_plan(code, plan.units)

    @initialize(
        start=st.sampled_from(STARTS),
        plan=st.sampled_from([*PLANS]),
        budget=budgets,
        prepaid=st.integers(0, 60),
    )
    def begin(self, start: str, plan: str, budget: int | None, prepaid: int) -> None:
        self.bank.counts["examples"] += 1
        self.bank.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.new_tenant(plan)
        self.new_key(0, budget)
        if prepaid:
            self.grant(0, is_prepaid=True, granted=prepaid)

    # What operators and tenants change. It counts from the next flush on.

    @precondition(lambda self: len(self.model.tenants) < 3)
    @rule(plan=st.sampled_from([*PLANS]))
    def new_tenant(self, plan: str) -> None:
        tenant = uuid7()
        self.bank.add_tenant(tenant, plan)
        self.model.tenants[tenant] = Tenant(plan)

    @precondition(lambda self: len(self.model.keys) < 5)
    @rule(number=picks, budget=budgets)
    def new_key(self, number: int, budget: int | None) -> None:
        tenant, key = pick(number, [*self.model.tenants]), uuid7()
        self.bank.execute(
            "insert into fanfold.api_keys (tenant_id, id, name, public_id, digest, scopes, budget_units) "
            "values ($1, $2, '钥匙', $3, $4, '{process}', $5)",
            tenant, key, str(key), key.bytes, budget,
        )  # fmt: skip
        self.model.keys[key], self.desk.keys[key] = budget, tenant

    @precondition(lambda self: self.model.keys)
    @rule(number=picks, budget=budgets)
    def change_budget(self, number: int, budget: int | None) -> None:
        key = pick(number, [*self.model.keys])
        self.bank.execute("update fanfold.api_keys set budget_units = $2 where id = $1", key, budget)
        self.model.keys[key] = budget

    @rule(
        number=picks,
        plan=st.none() | st.sampled_from([*PLANS]),
        own_units=st.none() | units,
        overage=st.sampled_from([None, None, False, True]),
    )
    def change_tenant(
        self, number: int, plan: str | None, own_units: int | None, overage: bool | None
    ) -> None:
        tenant = pick(number, [*self.model.tenants])
        own = Tenant(plan or self.model.tenants[tenant].plan, own_units, overage)
        self.bank.execute(
            "update fanfold.tenants set plan = $2, limit_overrides = jsonb_strip_nulls(jsonb_build_object("
            "'monthly_units', $3::bigint, 'overage_allowed', $4::boolean)) where id = $1",
            tenant, own.plan, own.units, own.overage,
        )  # fmt: skip
        self.model.tenants[tenant] = own

    @rule(code=st.sampled_from([*PLANS]), new_units=units)
    def change_plan(self, code: str, new_units: int) -> None:
        self._set_plan(code, new_units)
        self.model.plans[code] = replace(self.model.plans[code], units=new_units)

    @rule(number=picks, is_prepaid=st.booleans(), granted=st.integers(-40, 80).filter(bool))
    def grant(self, number: int, *, is_prepaid: bool, granted: int) -> None:
        tenant = pick(number, [*self.model.tenants])
        starts = [start for who, start in self.model.periods if who == tenant]
        start = None if is_prepaid or not starts else pick(number, starts)
        self.bank.execute(
            "insert into fanfold.grants (tenant_id, id, kind, period_start, units, reason, granted_by) "
            "values ($1, $2, $3, $4, $5, '谢谢', $2)",
            tenant, uuid7(), "period" if start else "prepaid", start, granted,
        )  # fmt: skip
        self.model.grants += ((tenant, start, granted),)

    # What requests do, alone and at once, and what becomes of the processes that they are in.

    @rule(wished=groups)
    def ask(self, wished: Sequence[Wish]) -> None:
        asked = self.desk.asked(self.model, self.bank.now, wished)
        answers = self.bank.run(self.bank.lanes.ask_all(asked))
        self._accept([Told(*pair) for pair in zip(asked, answers, strict=True)])

    @rule(wished=small_groups, leaving=st.lists(st.booleans(), min_size=3, max_size=3), after_s=moments)
    def ask_and_leave(self, wished: Sequence[Wish], leaving: Sequence[bool], after_s: float) -> None:
        asked = self.desk.asked(self.model, self.bank.now, wished)
        leaves = [gone and one.lane < 2 for one, gone in zip(asked, leaving, strict=False)]
        answers = self.bank.run(self.bank.lanes.ask_and_leave(asked, leaves, after_s))
        self.bank.counts["left"] += sum(leaves)
        self._accept([Told(*pair) for pair in zip(asked, answers, strict=True)])

    @rule(wished=small_groups, lane=st.integers(0, 1), after_s=moments, kill=st.booleans())
    def ask_and_cut(self, wished: Sequence[Wish], lane: int, after_s: float, *, kill: bool) -> None:
        asked = self.desk.asked(self.model, self.bank.now, wished)
        answers = self.bank.run(self.bank.lanes.ask_and_cut(asked, lane, after_s, kill=kill))
        self.bank.counts["killed" if kill else "cut"] += 1
        was_cut = [one.lane == lane and not kill for one in asked]
        self._accept([Told(*three) for three in zip(asked, answers, was_cut, strict=True)])

    @rule(lane=st.integers(0, 1))
    def restart(self, lane: int) -> None:
        self.bank.run(self.bank.lanes.restart(lane))

    # What time does.

    @rule(numbers=st.lists(picks, min_size=1, max_size=4))
    def end_leases(self, numbers: Sequence[int]) -> None:
        over = ended(self.model, numbers)
        for (tenant, request), hold in over.items():
            self.bank.execute(
                "update fanfold.reservations set expires_at = now() - interval '1 s' "
                "where tenant_id = $1 and id = $2",
                tenant, request,
            )  # fmt: skip
            self.model.holds[tenant, request] = replace(hold, is_over=True)

    @rule(numbers=st.lists(picks, min_size=1, max_size=4), wished=small_groups)
    def end_leases_and_sweep(self, numbers: Sequence[int], wished: Sequence[Wish]) -> None:
        self.end_leases(numbers)
        self.ask([SWEEP, *wished])

    @rule(number=picks)
    def age_claim(self, number: int) -> None:
        if not self.model.claims:
            return
        tenant, key = pick(number, [*self.model.claims])
        self.bank.execute(
            "update fanfold.idempotency_keys set created_at = now() - interval '24 h' "
            "where tenant_id = $1 and key = $2",
            tenant, key,
        )  # fmt: skip
        self.model.claims[tenant, key] = replace(self.model.claims[tenant, key], is_old=True)

    @rule(days=st.sampled_from([0.5, 1, 7, 31]))
    def wait(self, days: float) -> None:
        self.bank.now += timedelta(days=days)

    def teardown(self) -> None:
        if any(
            hold.is_over for hold in self.model.holds.values()
        ):  # the sweeper's next round is another example's
            self.bank.run(self.bank.lanes.sweep())

    def _set_plan(self, code: str, new_units: int) -> None:
        self.bank.execute("update fanfold.plans set monthly_units = $2 where code = $1", code, new_units)

    def _accept(self, told: Sequence[Told]) -> None:
        """Find an order that explains what was told, and what the database holds after it."""
        self.bank.counts["steps"] += 1
        self.history += told
        self.bank.counts.update(one.answer[0] for one in told)
        self.desk.note([one.asked for one in told], [one.answer for one in told])
        found = self.bank.run(read_pages(self.bank.lanes.reader, self.model.tenants))
        nearest: LedgerModel | None = None
        for after in explanations(self.model, told):
            nearest = nearest or after
            if pages_of(after) == found:
                self.model = after
                break
        else:
            self._fail(
                told, difference(found, pages_of(nearest)) if nearest else "no order explains the answers"
            )
        broken = self.bank.run(broken_truths(self.bank.lanes.reader, self.model.tenants))
        if broken:
            self._fail(told, f"broken: {broken}")

    def _fail(self, told: Sequence[Told], why: str) -> None:
        """Keep the first failure: a race may end otherwise when the example is run once more."""
        alone = self.model.copy()
        lines = [f"{one.asked}\n  was told {one.answer}, alone {alone.apply([one.asked])}" for one in told]
        before = (f"{one.asked.kind} {one.answer}" for one in self.history)
        self.bank.first_failure = self.bank.first_failure or "\n".join([*before, *lines, why])
        pytest.fail(why)


@pytest.fixture
def bank(test_server: TestServer) -> Iterator[Bank]:
    database = test_server.create(template=test_server.ensure_template())
    try:
        with asyncio.Runner() as runner:
            bank = Bank(runner, database)
            bank.open()
            try:
                yield bank
            finally:
                bank.close()
    finally:
        test_server.drop(database)


@pytest.mark.proof
def test_the_ledger_does_what_the_plain_model_does(bank: Bank, figures: Figures, *, full: bool):
    first_seed = random.SystemRandom().getrandbits(32) if full else 0
    began, rounds = monotonic(), 0
    while rounds < (500 // EXAMPLES if full else 1) and monotonic() - began < MAX_S:
        chosen = settings(
            max_examples=EXAMPLES if full else 15,
            stateful_step_count=50,
            deadline=None,
            derandomize=not full,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        number = first_seed + rounds
        machine: Any = partial(LedgerMachine, bank)
        try:
            run_state_machine_as_test(seed(number)(machine) if full else machine, settings=chosen)
        finally:
            print(f"seed {number if full else 'fixed'}\n{bank.first_failure}")
        rounds += 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(bank.counts.items()))
    figures(
        f"ledger machine ({monotonic() - began:.0f} s, first seed {first_seed if full else 'fixed'}): "
        f"{told}; 0 differences"
    )
