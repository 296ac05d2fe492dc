"""`/v1/admin/tenants/{id}/grants` over HTTP. The dangers: units that nobody counts, sums that stop a tenant."""

import asyncio
import secrets

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import Period, period_of, utc_now
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import connect


def path_of(tenant) -> str:
    return f"/v1/admin/tenants/{tenant.id}/grants"


async def grant(operator, tenant, units: int, **more):
    answer = await operator.post(path_of(tenant), json={"units": units, "reason": "补偿 🙂", **more})
    assert answer.status_code == 201, answer.text
    return answer


class TestGrants:
    async def test_are_made_shown_and_listed_newest_first(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        first = await grant(operator, tenant, 500)
        made = first.json()
        assert (made["units"], made["kind"], made["reason"]) == (500, "period", "补偿 🙂")
        assert (made["tenant_id"], made["period_start"]) == (str(tenant.id), period_of(utc_now()).isoformat())
        assert first.headers["location"] == f"{path_of(tenant)}/{made['id']}"
        assert (await operator.get(first.headers["location"])).json() == made
        second = (await grant(operator, tenant, 7, kind="prepaid")).json()
        assert second["period_start"] is None
        page = (await operator.get(path_of(tenant), params={"limit": 1})).json()
        assert page["data"] == [second]
        rest = (await operator.get(path_of(tenant), params={"cursor": page["next_cursor"]})).json()
        assert rest == {"data": [made], "next_cursor": None}

    async def test_count_at_once(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=2)
        await tenant.upstream(product.zoo.url("ok"))
        text, options = "x" * 6, {"split": {"size": 1}}
        refused = await tenant.http.post("/v1/process", json={"text": text, **options})
        assert (refused.status_code, refused.json()["remaining"]) == (402, 2)
        await grant(operator, tenant, 3)
        await grant(operator, tenant, 10, kind="prepaid")
        assert (await tenant.process(text, **options))["usage"]["quota_remaining"] == 9
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["remaining"]) == (5, 6, 9)
        assert usage["prepaid"] == {"granted": 10, "drawn": 1, "remaining": 9}

    async def test_what_was_granted_and_is_not_drawn_can_be_taken_back_and_no_more(self, product):
        operator, tenant = await product.operator(), await product.tenant(monthly_units=5)
        await tenant.upstream(product.zoo.url("ok"))
        await grant(operator, tenant, 20, kind="prepaid")
        await grant(operator, tenant, 3)
        await tenant.process("x" * 12, split={"size": 1})
        for units, kind, left in ((-17, "prepaid", 16), (-4, "period", 3)):
            refused = await operator.post(
                path_of(tenant), json={"units": units, "kind": kind, "reason": "all of it"}
            )
            assert refused.status_code == 409
            assert f"At most {left} units" in refused.json()["detail"]
        await grant(operator, tenant, -16, kind="prepaid")
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["remaining"]) == (8, 12, 0)
        assert usage["prepaid"] == {"granted": 4, "drawn": 4, "remaining": 0}
        await grant(operator, tenant, 80, kind="prepaid")
        assert (await tenant.usage())["remaining"] == 80

    async def test_a_repeated_one_with_its_key_is_made_once(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        body, headers = {"units": 5, "reason": "once"}, {"Idempotency-Key": secrets.token_hex(8)}
        answers = [await operator.post(path_of(tenant), json=body, headers=headers) for _ in range(2)]
        assert answers[0].content == answers[1].content
        assert answers[1].headers["idempotent-replayed"] == "true"
        assert len((await operator.get(path_of(tenant))).json()["data"]) == 1

    async def test_a_tenant_that_is_not_there_has_none(self, product):
        operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
        made = (await grant(operator, other, 1)).json()
        nobody = f"/v1/admin/tenants/{uuid7()}/grants"
        answers = [
            await operator.post(nobody, json={"units": 1, "reason": "x"}),
            await operator.get(nobody),
            await operator.get(f"{nobody}/{uuid7()}"),
            await operator.get(f"{path_of(tenant)}/{made['id']}"),
        ]
        assert [answer.status_code for answer in answers] == [404] * 4

    @pytest.mark.parametrize(
        "wrong",
        [{"units": 0}, {"units": 10**15 + 1}, {"units": -(10**15) - 1}, {"reason": ""}, {"reason": "x" * 501},
         {"kind": "gift"}, {"period_start": "2026-01-01"}],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_refused(self, product, wrong):
        operator, tenant = await product.operator(), await product.tenant()
        answer = await operator.post(path_of(tenant), json={"units": 1, "reason": "x"} | wrong)
        assert answer.status_code == 422
        assert (await operator.get(path_of(tenant))).json()["data"] == []


@pytest.mark.parametrize("kind", ["period", "prepaid"])
async def test_their_sum_never_leaves_what_the_ledger_can_add_up(product, kind):
    operator, tenant = await product.operator(), await product.tenant(monthly_units=10**15)
    await tenant.upstream(product.zoo.url("ok"))
    body = {"units": 6 * 10**14, "reason": "much", "kind": kind}
    answers = await asyncio.gather(*(operator.post(path_of(tenant), json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await tenant.process("x"))["status"] == "succeeded"


async def test_where_the_plan_counts_by_the_day_it_is_for_the_day(own_database):
    async with running_product(own_database, product_settings(own_database)) as product:
        superuser = await connect(own_database.superuser_url)
        await superuser.execute("update fanfold.plans set period = 'day' where code = 'pro'")
        await superuser.close()
        operator, tenant = await product.operator(), await product.tenant(monthly_units=0)
        made = (await grant(operator, tenant, 4)).json()
        assert made["period_start"] == period_of(utc_now(), Period.DAY).isoformat()
        await tenant.upstream(product.zoo.url("ok"))
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 3
