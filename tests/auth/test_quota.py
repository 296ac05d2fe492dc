"""The danger of a plan whose units are not for a month: counted and shown by the wrong period."""

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from fanfold.tenants.periods import Period
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect


@pytest.fixture
async def own_product(own_database: TestDatabase) -> AsyncIterator[Product]:
    """An application on a database whose plans may be changed."""
    async with running_product(own_database, product_settings(own_database)) as product:
        yield product


@pytest.mark.parametrize(("period", "days"), [(Period.DAY, 1), (Period.WEEK, 7)])
async def test_the_period_of_the_plan_is_the_tenant_s(own_product: Product, period: Period, days: int):
    superuser = await connect(own_product.database.superuser_url)
    await superuser.execute("update fanfold.plans set period = $1 where code = 'pro'", period.value)
    await superuser.close()
    tenant = await own_product.tenant("pro")
    usage = await tenant.usage()
    start, end = (dt.datetime.fromisoformat(usage[name]) for name in ("period_start", "period_end"))
    assert end - start == dt.timedelta(days=days)
    assert start <= dt.datetime.now(dt.UTC) < end
    assert period is Period.DAY or start.isoweekday() == 1
