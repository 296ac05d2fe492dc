"""Tenants of the roulette, of every kind that a ledger knows, and what is right about each at the end."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from tests.chaos.books import Books, Truth
from tests.chaos.clients import Told, chunks_of
from tests.chaos.world import Tenant, World
from tests.zoo import Zoo

RICH = 1_000_000
# The units of each call that was billed, by request and call.
Bills = Mapping[UUID, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Kind:
    """Limits of a tenant, and how its clients behave. `runs_dry`: it has too few units for all that is asked."""

    limits: dict[str, Any]
    prepaid: int = 0
    is_keyed: bool = False
    leaves: bool = True
    runs_dry: bool = False


KINDS = {
    "rich": Kind({"monthly_units": RICH}),
    "keyed": Kind({"monthly_units": RICH}, is_keyed=True),
    "steady": Kind({"monthly_units": RICH}, leaves=False),
    "poor": Kind({"monthly_units": 20}, runs_dry=True),
    "prepaid": Kind({"monthly_units": 20}, prepaid=40, runs_dry=True),
    "budget": Kind({"monthly_units": RICH, "budget_units": 30}, runs_dry=True),
    "overage": Kind({"monthly_units": 10, "overage_allowed": True}),
    "poor and keyed": Kind({"monthly_units": 30}, prepaid=30, is_keyed=True, runs_dry=True),
}


class Sums(NamedTuple):
    """Units and calls billed, and calls that the zoo served."""

    units: int
    calls: int
    served: int


@dataclass(slots=True)
class Account:
    """One tenant, what a call costs it, and what its clients were told."""

    kind: Kind
    tenant: Tenant
    price: int
    told: Told = field(default_factory=Told)

    def has_shown_its_kind(self, truth: Truth) -> bool:
        """Whether it was served, has met its limit, and has passed into overage or prepaid units."""
        is_beyond = truth.prepaid > 0 if self.kind.prepaid else truth.used > truth.granted
        is_dry = self.told.ends["402"] > 0
        goes_beyond = bool(self.kind.prepaid or self.kind.limits.get("overage_allowed"))
        return bool(self.told.answered) and is_dry >= self.kind.runs_dry and is_beyond >= goes_beyond

    async def audit(self, books: Books, zoo: Zoo, listed: Sequence[Any]) -> Sums:
        """Compare the bill with what was told and served, call by call."""
        bills = self._bills(await books.events(self.tenant.id))
        listed = [one for one in listed if one["tenant_id"] == self.tenant.id]
        self._check_told(bills, zoo)
        self._check_untold(bills, zoo, listed)
        if self.kind.is_keyed:
            assert set(bills) <= await books.holders(self.tenant.id), "one key, two bills"
        assert (self.told.ends["402"] > 0) == self.kind.runs_dry
        units = [unit for bill in bills.values() for unit in bill.values()]
        return Sums(sum(units), len(units), zoo.served_by_tag[str(self.tenant.id)])

    def _bills(self, events: Sequence[Any]) -> Bills:
        bills: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
        for event in events:
            assert (event["outcome"], event["units"]) == ("billed", self.price)
            bill = bills[event["request_id"]]
            assert event["call_index"] not in bill, "one call, billed twice"
            bill[event["call_index"]] = event["units"]
        return bills

    def _check_told(self, bills: Bills, zoo: Zoo) -> None:
        for request, answered in self.told.answered.items():
            assert bills.get(request, {}) == dict.fromkeys(answered.chunks, self.price), "told otherwise"
            assert answered.units == self.price * len(answered.chunks)
            assert all(self._was_served(zoo, chunk) for chunk in answered.chunks.values()), "never served"

    def _check_untold(self, bills: Bills, zoo: Zoo, listed: Sequence[Any]) -> None:
        """Requests whose clients know no end: billed for what was served, or listed, and never both."""
        untold = {request: bill for request, bill in bills.items() if request not in self.told.answered}
        ends = self.told.ends
        assert len(untold) + len(listed) <= ends["lost"] + ends["left"] + ends["503"]
        assert not bills.keys() & {one["request_id"] for one in listed}, "billed, and in doubt"
        served = [
            sum(self._was_served(zoo, chunk) for chunk in chunks_of(text)) for text in self.told.unanswered
        ]
        assert sum(map(len, untold.values())) <= sum(served), "billed, but not served"
        if not self.kind.leaves:  # of what a client leaves, calls are cut off that the zoo believes it served
            sizes = Counter(
                len(chunks_of(text)) * self.price
                for text, calls in zip(self.told.unanswered, served, strict=True)
                if calls
            )
            unlisted = sizes - Counter(one["units"] for one in listed)
            assert unlisted.total() <= len(untold), "served, and neither billed nor listed"

    def _was_served(self, zoo: Zoo, chunk: str) -> bool:
        return zoo.served_chunks[str(self.tenant.id), chunk] > 0


async def open_account(
    world: World, books: Books, zoo: Zoo, server: str, kind: Kind, drawn: random.Random
) -> Account:
    """Make a tenant with an upstream that fails three times in ten."""
    tenant = await world.tenant(**kind.limits)
    if kind.prepaid:
        await books.grant_prepaid(tenant.id, kind.prepaid)
    price = drawn.randint(1, 3)
    url = zoo.url("faults", percent=30, ms=10, tag=tenant.id, book=1)
    await tenant.upstream(server, url, units_per_call=price, max_attempts=2)
    return Account(kind, tenant, price)
