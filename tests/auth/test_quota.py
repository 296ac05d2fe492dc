"""The danger of a plan whose units are not for a month: counted and shown by the wrong period."""

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import fields, replace

import pytest

from fanfold.auth.dependencies import Quota, quota_of, quota_of_principal
from fanfold.auth.principal import Principal, PrincipalKind, PrincipalTenant
from fanfold.core.identifiers import uuid7
from fanfold.tenants.limits import Limits
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


def test_a_principal_keeps_its_period_until_it_is_over():
    limits = Limits.of({field.name: 1 for field in fields(Limits)}, {})
    tenant = PrincipalTenant(id=uuid7(), slug="t", status="active", limits=limits, period=Period.DAY)
    principal = Principal(kind=PrincipalKind.API_KEY, id=uuid7(), scopes=frozenset(), tenant=tenant)
    present = quota_of_principal(principal)
    assert present == quota_of(tenant)
    assert quota_of_principal(principal) is present
    over = replace(present, period_end=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
    principal.made[Quota] = over
    assert quota_of_principal(principal) == present
