"""`fanfold jobs`, and what the doctor says of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.cli.running import Cli
from tests.core.asking import execute
from tests.fixtures.app import SECRET, Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.jobs.fake_worker import make_dead_job, make_job


def _in_product(database: TestDatabase, work: Callable[[Product, TenantClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with running_product(database, product_settings(database)) as product:
            tenant = await product.tenant()
            return tenant, await work(product, tenant)

    return asyncio.run(run())


async def _dead_and_waiting(product: Product, tenant: TenantClient) -> tuple[str, str]:
    dead = await make_dead_job(product, tenant)
    return str(dead), str(await make_job(product, tenant))


@pytest.fixture
def own_cli(own_database: TestDatabase, cli: Cli) -> Cli:
    """The command line on a database of the test's own, with the product's key."""
    return Cli(
        cli.env
        | {"FANFOLD_DATABASE_URL": own_database.app_url, "FANFOLD_SECRET_KEYS": SECRET.get_secret_value()}
    )


def test_dead_ones_are_listed_shown_and_put_back(own_cli: Cli, own_database: TestDatabase) -> None:
    tenant, (dead, waiting) = _in_product(own_database, _dead_and_waiting)
    (listed,) = own_cli.json("jobs", "list")
    assert (listed["id"], listed["tenant_id"], listed["status"]) == (dead, str(tenant.id), "dead")
    everything = own_cli.json("jobs", "list", "--tenant", tenant.slug, "--status", "all")
    assert [job["id"] for job in everything] == [waiting, dead]
    shown = own_cli.json("jobs", "show", str(tenant.id), dead)
    assert shown == listed
    assert shown["error"]["code"] == "internal-error"
    found = {each["name"]: each for each in own_cli.json("doctor")["checks"]}["jobs"]
    assert "fanfold jobs list" in found["remedy"]
    put_back = own_cli.json("jobs", "requeue", str(tenant.id), dead, "--reason", "修好了")
    assert (put_back["status"], put_back["retries"]) == ("queued", 1)
    assert "not dead" in own_cli.refused("jobs", "requeue", str(tenant.id), dead)
    assert own_cli.refused("jobs", "show", str(tenant.id), str(tenant.id)) == "There is no such job."
    assert own_cli("jobs", "list").exit_code == 0


def test_the_doctor_says_where_jobs_wait_and_nobody_works(own_cli: Cli, own_database: TestDatabase) -> None:
    _in_product(own_database, _dead_and_waiting)
    execute(own_database.superuser_url, "delete from fanfold.jobs where status = 'dead'")

    def found() -> dict[str, Any]:
        checks: list[dict[str, Any]] = own_cli.json("doctor")["checks"]
        return next(each for each in checks if each["name"] == "jobs")

    assert (found()["ok"], found()["remedy"]) == (True, None)
    execute(
        own_database.superuser_url, "update fanfold.pgqueuer set execute_after = now() - interval '5 minutes'"
    )
    assert "fanfold worker" in found()["remedy"]
