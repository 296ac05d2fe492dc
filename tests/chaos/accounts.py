"""Tenants of the roulette, of every kind that a ledger knows, and what is right about each at the end."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.chaos.books import Books
from tests.chaos.clients import LEAVING, Told
from tests.chaos.world import Tenant, World
from tests.zoo import Zoo

RICH = 1_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Limits of a tenant, and how its clients behave."""

    limits: dict[str, Any]
    prepaid: int = 0
    is_keyed: bool = False
    leaving: float = LEAVING


KINDS = {
    "rich": Kind({"monthly_units": RICH}),
    "keyed": Kind({"monthly_units": RICH}, is_keyed=True),
    "steady": Kind({"monthly_units": RICH}, leaving=0.0),
    "poor": Kind({"monthly_units": 20}),
    "prepaid": Kind({"monthly_units": 40}, prepaid=100),
    "budget": Kind({"monthly_units": RICH, "budget_units": 30}),
    "overage": Kind({"monthly_units": 10, "overage_allowed": True}),
    "poor and keyed": Kind({"monthly_units": 400}, prepaid=50, is_keyed=True),
}


@dataclass(slots=True)
class Account:
    """One tenant, what an answer costs it, and what its clients were told."""

    kind: Kind
    tenant: Tenant
    price: int
    told: Told = field(default_factory=Told)

    async def audit(self, books: Books, zoo: Zoo, listed: list[Any]) -> tuple[int, int, int]:
        """Compare the bill with what was told and served; returns units and answers billed, and answers served."""
        events = await books.events(self.tenant.id)
        served = zoo.served_by_tag[str(self.tenant.id)]
        assert {event["outcome"] for event in events} <= {"billed"}
        assert {event["units"] for event in events} <= {self.price}
        by_request = Counter[UUID]()
        for event in events:
            by_request[event["request_id"]] += event["units"]
        told = self.told.answered
        assert {request: by_request[request] for request in told} == told, "told 200, but billed otherwise"
        assert len(events) <= served, "billed, but not served"
        if self.kind.is_keyed:
            assert set(by_request) <= await books.holders(self.tenant.id), "one key, two bills"
        elif not self.kind.leaving:
            open_units = sum(one["units"] for one in listed if one["tenant_id"] == self.tenant.id)
            assert (served - len(events)) * self.price <= open_units, "served, and neither billed nor listed"
        return sum(by_request.values()), len(events), served


async def open_account(
    world: World, books: Books, zoo: Zoo, server: str, kind: Kind, drawn: random.Random
) -> Account:
    """Make a tenant with an upstream that fails three times in ten."""
    tenant = await world.tenant(**kind.limits)
    if kind.prepaid:
        await books.grant_prepaid(tenant.id, kind.prepaid)
    price = drawn.randint(1, 3)
    url = zoo.url("faults", percent=30, ms=10, tag=tenant.id)
    await tenant.upstream(server, url, units_per_call=price, max_attempts=2)
    return Account(kind, tenant, price)
