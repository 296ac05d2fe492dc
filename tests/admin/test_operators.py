"""People who operate. The dangers: an operator by a password alone, or one who stays when the second factor goes."""

import asyncio
import time

import pyotp
from sqlalchemy import update

from fanfold.auth.principal import Role
from fanfold.users.models import User
from fanfold.users.totp import STEP_S, new_enrolment, seal_secret
from tests.fixtures.app import Person, Product
from tests.fixtures.audited import audited

TENANTS = "/v1/admin/tenants"
# A principal is true for a second from the start of its load.
FORGOTTEN_S = 1.1


class Operator:
    """A person who operates, and the authenticator in their hand."""

    def __init__(self, person: Person, secret: str) -> None:
        self.person, self._secret = person, secret

    @classmethod
    async def made(cls, product: Product, tenant=None, role: Role = Role.OWNER) -> "Operator":
        enrolment = new_enrolment("operator@example.com")
        person = await product.person(tenant, role, is_operator=True)
        async with product.app.state.database.identity_session() as session, session.begin():
            sealed = seal_secret(product.app.state.key_ring, person.id, enrolment.secret)
            await session.execute(update(User).where(User.id == person.id).values(totp_sealed=sealed))
        return cls(person, enrolment.secret.get_secret_value())

    def code(self, offset: int = 0) -> str:
        return pyotp.TOTP(self._secret).generate_otp(int(time.time()) // STEP_S + offset)


async def test_with_a_password_and_a_code_they_operate_and_belong_to_no_tenant(product: Product):
    operator, tenant = await Operator.made(product), await product.tenant()
    tokens = await operator.person.sign_in(otp=operator.code())
    assert tokens["scope"] == "operator"
    http = operator.person.http
    assert (await http.get(TENANTS)).status_code == 200
    refused = await http.get("/v1/upstreams")
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
    assert (await http.post(f"{TENANTS}/{tenant.id}/suspend")).status_code == 200
    line = (await audited(product, tenant.id))[-1]
    assert (line.actor_kind, line.actor_id) == ("user", operator.person.id)


async def test_without_a_second_factor_nobody_is_one(product: Product):
    person = await product.signed_in(is_operator=True)
    assert person.tokens["scope"] == ""
    assert (await person.http.get(TENANTS)).status_code == 403


async def test_the_right_goes_with_the_second_factor(product: Product):
    operator = await Operator.made(product)
    await operator.person.sign_in(otp=operator.code())
    assert (await operator.person.http.get(TENANTS)).status_code == 200
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == operator.person.id).values(totp_sealed=None))
    await asyncio.sleep(FORGOTTEN_S)
    assert (await operator.person.http.get(TENANTS)).status_code == 403


async def test_in_a_tenant_they_have_their_role_and_no_more(product: Product):
    tenant = await product.tenant()
    operator = await Operator.made(product, tenant, Role.VIEWER)
    tokens = await operator.person.sign_in(otp=operator.code(), tenant=tenant.slug)
    assert tokens["scope"] == "usage:read"
    assert (await operator.person.http.get(TENANTS)).status_code == 403
