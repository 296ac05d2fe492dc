"""Customers' text in jobs: nowhere in the open while it is there, and nowhere at all when it is over."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanfold.jobs.purge import JobPurge
from fanfold.tenants.eraser import Eraser
from tests.adversarial.test_canaries import dump
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of

_SEALED = (
    "select request from fanfold.jobs", "select output from fanfold.jobs where output is not null",
    "select body from fanfold.job_parts", "select body from fanfold.job_results",
)  # fmt: skip
_EXPIRE = "update fanfold.jobs set expires_at = now() - interval '1 second'"
_END_TENANT = (
    "update fanfold.tenants set status = 'deleted', erase_at = now() - interval '1 hour' where id = $1"
)

End = Callable[[Product, TenantClient, str], Awaitable[None]]


async def _delete(_product: Product, tenant: TenantClient, job_id: str) -> None:
    assert (await tenant.http.delete(f"/v1/jobs/{job_id}")).status_code == 204


async def _purge(product: Product, _tenant: TenantClient, _job_id: str) -> None:
    await _execute(product, _EXPIRE)
    assert await JobPurge(product.app.state.database).work() >= 1


async def _erase(product: Product, tenant: TenantClient, _job_id: str) -> None:
    await _execute(product, _END_TENANT, tenant.id)
    assert await Eraser(product.app.state.database).work() > 0


async def _execute(product: Product, statement: str, *values: Any) -> None:
    connection = await connect(product.database.superuser_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def _sealed(product: Product) -> list[str]:
    connection = await connect(product.database.superuser_url)
    try:
        return [row[0].hex() for statement in _SEALED for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def _worked(product: Product, tenant: TenantClient, worker: FakeWorker, canary: str) -> str:
    job_id = await make_job(product, tenant, text=canary, metadata={"about": f"{canary} in the open"})
    results = [result_of(index, result=f"{canary} {index}") for index in range(4)]
    assert await worker.run(*results, output={"folded": canary}) == job_id
    return str(job_id)


@pytest.mark.parametrize("end", [_delete, _purge, _erase])
async def test_no_row_of_any_table_has_it(own_database: TestDatabase, end: End, capsys: Any):
    canary = f"canary{secrets.token_hex(12)}"
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant = await product.tenant()
        async with fake_worker(product, tenant) as worker:
            job_id = await _worked(product, tenant, worker, canary)
        before, sealed = await dump(product), await _sealed(product)
        assert len(sealed) == 1 + 1 + 2 + 4
        assert all(each in before for each in sealed)  # what is there is found
        # Its metadata are the tenant's own labels, which lists show and filter: the only words in the open.
        assert before.count(canary) == before.count(f"{canary} in the open") >= 1
        assert (await tenant.http.get(f"/v1/jobs/{job_id}/results")).text.count(canary) == 4
        await end(product, tenant, job_id)
        after = await dump(product)
        assert canary not in after
        assert [each for each in sealed if each in after] == []
        with capsys.disabled():
            print(
                f"\njobs' texts: {len(sealed)} sealed bodies and a canary sought in {len(after) // 1024} KiB: none"
            )
