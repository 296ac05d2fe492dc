"""`/v1/admin/jobs` over HTTP: what operators see of tenants' jobs, and what they do for those that were given up."""

import secrets
from typing import Any
from uuid import UUID

import httpx

from fanfold.core.identifiers import uuid7
from tests.adversarial.test_canaries import dump
from tests.fixtures.app import Product, TenantClient
from tests.jobs.fake_worker import fake_worker, make_dead_job, make_job, result_of
from tests.usage.books import Books

LIST = "/v1/admin/jobs"


async def _listed(operator: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await operator.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


async def _requeue(operator: httpx.AsyncClient, tenant: TenantClient, job_id: UUID, **query: Any) -> Any:
    return await operator.post(f"{LIST}/{tenant.id}/{job_id}/requeue", params=query)


async def test_dead_ones_are_listed_and_others_where_they_are_asked_for(product: Product):
    operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
    dead = [str(await make_dead_job(product, each)) for each in (tenant, other)]
    queued = str(await make_job(product, tenant))
    assert [job["id"] for job in await _listed(operator, limit=2)] == dead[::-1]
    assert [job["id"] for job in await _listed(operator, tenant_id=str(tenant.id))] == [dead[0]]
    mine = await _listed(operator, tenant_id=str(tenant.id), status="all")
    assert [job["id"] for job in mine] == [queued, dead[0]]
    assert [job["id"] for job in await _listed(operator, tenant_id=str(tenant.id), status="queued")] == [
        queued
    ]


async def test_one_is_shown_with_what_it_failed_of_and_without_the_tenant_s_words(product: Product):
    operator, tenant = await product.operator(), await product.tenant()
    canary = f"canary{secrets.token_hex(8)}"
    job_id = await make_dead_job(product, tenant, text=canary, metadata={canary: canary})
    answer = await operator.get(f"{LIST}/{tenant.id}/{job_id}")
    shown = answer.json()
    assert (shown["tenant_id"], shown["status"], shown["attempts"]) == (str(tenant.id), "dead", 0)
    assert shown["error"]["code"] == "internal-error"
    assert canary not in answer.text
    assert canary in await dump(product)  # its metadata are there, and could have been shown
    assert (await operator.get(f"{LIST}/{tenant.id}/{uuid7()}")).status_code == 404
    assert (await operator.get(f"{LIST}/{uuid7()}/{job_id}")).status_code == 404


async def test_one_that_was_given_up_runs_again_and_the_audit_log_says_so(product: Product):
    operator, tenant = await product.operator(), await product.tenant()
    job_id = await make_dead_job(product, tenant)
    answer = await _requeue(operator, tenant, job_id, reason="上游修好了 🙂")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
    assert answer.json()["retries"] == 1
    (line,) = (await tenant.http.get("/v1/audit", params={"action": "job.requeued"})).json()["data"]
    assert (line["object_id"], line["reason"]) == (str(job_id), "上游修好了 🙂")
    assert (line["before"]["status"], line["after"]) == ("dead", {"status": "queued"})
    assert (await _requeue(operator, tenant, job_id)).status_code == 409
    async with fake_worker(product, tenant) as worker:
        assert await worker.run(*map(result_of, range(4))) == job_id
    await Books(product.database).check_truths(tenant.id)


async def test_what_is_refused_leaves_no_line(product: Product):
    operator, tenant = await product.operator(), await product.tenant(monthly_units=4)
    job_id = await make_dead_job(product, tenant)
    await product.app.state.ledger.reserve(tenant_id=tenant.id, request_id=uuid7(), units=1, lease_s=600)
    answer = await _requeue(operator, tenant, job_id)
    assert (answer.status_code, answer.json()["code"]) == (402, "quota-exhausted")
    cancelled = await make_job(product, tenant, calls=1)
    await tenant.http.post(f"/v1/jobs/{cancelled}/cancel")
    assert (await _requeue(operator, tenant, cancelled)).status_code == 409
    assert (await _requeue(operator, tenant, uuid7())).status_code == 404
    lines = (await tenant.http.get("/v1/audit", params={"action": "job.requeued"})).json()["data"]
    assert lines == []
    assert (await tenant.http.get(f"/v1/jobs/{job_id}")).json()["status"] == "dead"
