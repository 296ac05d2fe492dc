"""`/v1/admin/outcomes` and `/v1/usage/outcomes` over HTTP. The danger: billed twice, or by nobody's decision."""

import asyncio
import secrets

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import utc_now
from fanfold.usage.types import Outcome
from tests.usage.books import Books, events

LIST = "/v1/admin/outcomes"


def path_of(reservation) -> str:
    return f"{LIST}/{reservation.tenant_id}/{reservation.request_id}/resolve"


async def listed(client, path: str = LIST, **query):
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def resolve(operator, reservation, resolution: str = "billed", **more):
    body = {"resolution": resolution, "reason": "核对过 🙂", **more}
    return await operator.post(path_of(reservation), json=body)


async def unbilled(product, tenant):
    """Serve 20 units that were no longer free when they were to be billed."""
    reservation = await product.lapse(tenant, 60)
    ledger = product.app.state.ledger
    await ledger.reserve(tenant_id=tenant.id, request_id=uuid7(), units=90, lease_s=600)
    assert (await ledger.settle(reservation, events(20))).outcome is Outcome.UNBILLED
    return reservation


class TestLists:
    async def test_of_an_operator_and_of_the_tenant_itself(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        reservation = await product.lapse(tenant, 60)
        mine = {
            "request_id": str(reservation.request_id), "kind": "unknown", "units": 60, "api_key_id": None,
            "period_start": reservation.period_start.isoformat(),
            "resolved_at": None, "resolution": None, "resolved_units": None, "job_id": None, "calls": None,
        }  # fmt: skip
        (own,) = (await listed(tenant.http, "/v1/usage/outcomes"))["data"]
        assert own == mine | {"since": own["since"]}
        (shown,) = (await listed(operator, tenant_id=str(tenant.id)))["data"]
        assert shown == own | {"tenant_id": str(tenant.id), "reason": None, "resolved_by": None}
        assert shown in (await listed(operator, limit=200))["data"]

    async def test_by_kind_and_state_in_pages(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        done = await product.lapse(tenant, 1)
        open_one, served = await product.lapse(tenant, 2), await unbilled(product, tenant)
        assert (await resolve(operator, done, "waived")).status_code == 200

        async def ids(**query):
            query |= {"tenant_id": str(tenant.id)}
            found = [one["request_id"] for one in (await listed(operator, **query))["data"]]
            query.pop("tenant_id")
            own = (await listed(tenant.http, "/v1/usage/outcomes", **query))["data"]
            assert [one["request_id"] for one in own] == found
            return found

        newest_first = [str(one.request_id) for one in (served, open_one, done)]
        assert await ids() == newest_first[:2]
        assert await ids(state="resolved") == newest_first[2:]
        assert await ids(state="all") == newest_first
        assert await ids(kind="unbilled") == newest_first[:1]
        assert await ids(kind="unknown", state="all") == newest_first[1:]
        page = await listed(operator, tenant_id=str(tenant.id), limit=1)
        rest = await listed(operator, tenant_id=str(tenant.id), cursor=page["next_cursor"])
        assert [one["request_id"] for one in page["data"] + rest["data"]] == newest_first[:2]

    async def test_a_tenant_sees_neither_another_s_nor_who_decided_why(self, product):
        operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
        reservation = await product.lapse(tenant)
        await resolve(operator, reservation, "waived")
        assert (await listed(other.http, "/v1/usage/outcomes", state="all"))["data"] == []
        (own,) = (await listed(tenant.http, "/v1/usage/outcomes", state="all"))["data"]
        assert own["resolution"] == "waived"
        assert not own.keys() & {"reason", "resolved_by"}

    async def test_need_their_scope(self, product):
        tenant = await product.tenant(scopes=["process"])
        assert (await tenant.http.get("/v1/usage/outcomes")).status_code == 403


class TestResolving:
    async def test_billed_whole_or_in_part(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        whole, part = await product.lapse(tenant, 60), await product.lapse(tenant, 30)
        answer = (await resolve(operator, whole)).json()
        assert (answer["resolution"], answer["resolved_units"]) == ("billed", 60)
        assert answer["reason"] == "核对过 🙂"
        assert answer["resolved_at"] > answer["since"]
        assert (await resolve(operator, part, units=7)).json()["resolved_units"] == 7
        assert (await tenant.usage())["used"] == 67

    async def test_what_was_billed_stands_in_the_statement_and_the_events(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        reservation = await product.lapse(tenant, 60)
        await resolve(operator, reservation, units=7)
        (event,) = (await listed(tenant.http, "/v1/usage/events"))["data"]
        assert (event["meter"], event["units"]) == ("resolution", 7)
        assert event["request_id"] == str(reservation.request_id)
        statement = await listed(tenant.http, "/v1/usage/statement", period=f"{utc_now():%Y-%m}")
        assert (statement["balanced"], sum(line["units"] for line in statement["lines"])) == (True, 7)

    async def test_nothing_is_billed_where_nothing_is_asked_for_or_it_is_waived(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        free, waived = await product.lapse(tenant, 60), await product.lapse(tenant, 30)
        assert (await resolve(operator, free, units=0)).json()["resolved_units"] == 0
        assert (await resolve(operator, waived, "waived")).json()["resolved_units"] == 0
        usage = await tenant.usage()
        assert (usage["used"], usage["reserved"], usage["remaining"]) == (0, 0, 100)

    async def test_who_did_it_is_kept(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        granted = await operator.post(
            f"/v1/admin/tenants/{tenant.id}/grants", json={"units": 1, "reason": "who am I?"}
        )
        answer = (await resolve(operator, await product.lapse(tenant))).json()
        assert answer["resolved_by"] == granted.json()["granted_by"]

    async def test_more_than_its_units_is_never_billed(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        reservation = await product.lapse(tenant, 60)
        answer = await resolve(operator, reservation, units=61)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "units"])
        assert len((await listed(tenant.http, "/v1/usage/outcomes"))["data"]) == 1
        assert (await tenant.usage())["used"] == 0

    async def test_what_is_not_free_needs_a_grant_first(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        reservation = await unbilled(product, tenant)
        answer = await resolve(operator, reservation)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "Grant units first" in answer.json()["detail"]
        grant = {"units": 20, "reason": "to bill what was served", "kind": "prepaid"}
        await operator.post(f"/v1/admin/tenants/{tenant.id}/grants", json=grant)
        assert (await resolve(operator, reservation)).json()["resolved_units"] == 20
        assert (await tenant.usage())["used"] == 20

    async def test_what_is_not_there_is_a_404(self, product):
        operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
        reservation = await product.lapse(tenant)
        body = {"resolution": "waived", "reason": "x"}
        for path in (
            f"{LIST}/{tenant.id}/{uuid7()}/resolve",
            f"{LIST}/{other.id}/{reservation.request_id}/resolve",
        ):
            assert (await operator.post(path, json=body)).status_code == 404
        assert len((await listed(tenant.http, "/v1/usage/outcomes"))["data"]) == 1

    @pytest.mark.parametrize(
        "wrong",
        [{"resolution": "settled"}, {"units": -1}, {"resolution": "waived", "units": 1}, {"reason": " "}, {"more": 1}],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_refused(self, product, wrong):
        operator, tenant = await product.operator(), await product.tenant()
        answer = await resolve(operator, await product.lapse(tenant), **({"units": 1} | wrong))
        assert answer.status_code == 422


class TestOnceOnly:
    async def test_a_second_word_is_a_conflict(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=100)
        reservation = await product.lapse(tenant, 60)
        answers = [await resolve(operator, reservation, word) for word in ("billed", "billed", "waived")]
        assert [answer.status_code for answer in answers] == [200, 409, 409]
        assert (await tenant.usage())["used"] == 60

    async def test_many_operators_at_once_bill_once(self, product):
        tenant = await product.tenant(monthly_units=1_000)
        operators = [await product.operator() for _ in range(4)]
        for _ in range(5):
            before = (await tenant.usage())["used"]
            reservation = await product.lapse(tenant, 10)
            words = [secrets.choice(["billed", "waived"]) for _ in range(8)]
            answers = await asyncio.gather(
                *(resolve(operators[n % 4], reservation, word) for n, word in enumerate(words))
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
            (won,) = [answer.json() for answer in answers if answer.status_code == 200]
            assert (await tenant.usage())["used"] - before == won["resolved_units"]
        await Books(product.database).check_truths(tenant.id)

    async def test_a_late_bill_comes_first_or_not_at_all(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=1_000)
        ledger = product.app.state.ledger
        early, late = await product.lapse(tenant, 10), await product.lapse(tenant, 10)
        assert (await ledger.settle(early, events(6))).outcome is Outcome.LATE
        assert (await resolve(operator, early)).status_code == 409
        assert (await resolve(operator, late, "waived")).status_code == 200
        assert (await ledger.settle(late, events(6))).outcome is Outcome.GONE
        assert (await tenant.usage())["used"] == 6
        states = (await listed(tenant.http, "/v1/usage/outcomes", state="all"))["data"]
        assert [(one["resolution"], one["resolved_units"]) for one in states] == [
            ("waived", 0),
            ("settled", 6),
        ]
        await Books(product.database).check_truths(tenant.id)
