"""The end of an account: what goes, what stays, and who may not go."""

import asyncio

from sqlalchemy import text

from fanfold.auth.principal import Role
from fanfold.users.repository import UserRepository
from tests.fixtures.app import PASSWORD, Person, Product
from tests.fixtures.audited import audited, of_tenant
from tests.members.test_invitations import invite, token_of
from tests.members.test_members import refused


async def _end(person: Person, password: str = PASSWORD) -> int:
    answer = await person.http.request("DELETE", "/v1/me", json={"current_password": password})
    return answer.status_code


async def test_memberships_sign_ins_address_and_name_go_and_keys_and_the_log_stay(product: Product):
    tenant, other = await product.tenant(), await product.tenant()
    await product.person(tenant)
    person = await product.signed_in(tenant, name="李雷")
    factor = (
        "update fanfold.users set totp_sealed = 'x', totp_wanted_sealed = 'x', totp_step = 1 where id = :id"
    )
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(text(factor), {"id": person.id})
    await product.join(person, other, Role.VIEWER)
    await product.person(other)
    made = await person.http.post("/v1/api-keys", json={"name": "of a person who goes"})
    assert await _end(person) == 204
    await refused(person, "/v1/me", status=401, code="not-authenticated")
    assert await _rows(product, person) == {"users": 1, "memberships": 0, "sessions": 0}
    async with product.app.state.database.identity_session() as session:
        user = await UserRepository(session).get(person.id)
        assert user is not None
        assert (user.email, user.email_key) == (f"erased:{person.id}", f"erased:{person.id}")
        assert (user.name, user.hashed_password, user.is_active, user.is_verified) == ("", "", False, False)
        assert (user.totp_sealed, user.totp_wanted_sealed, user.totp_step) == (None, None, None)
    assert (await product.http(made.json()["key"]).get("/v1/tenant")).status_code == 200
    events = [event.action for event in await audited(product, person.id)]
    assert events[-3:] == ["member.left", "member.left", "user.erased"]
    again = await person.http.post("/v1/auth/token", data={"username": person.email, "password": PASSWORD})
    assert again.status_code == 400


async def _rows(product: Product, person: Person) -> dict[str, int]:
    counts = {
        "users": "select count(*) from fanfold.users where id = :id",
        "memberships": "select count(*) from fanfold.memberships where user_id = :id",
        "sessions": "select count(*) from fanfold.sessions where user_id = :id and revoked_at is null",
    }
    async with product.app.state.database.identity_session() as session:
        return {
            name: (await session.execute(text(count), {"id": person.id})).scalar_one()
            for name, count in counts.items()
        }


async def test_a_sign_in_to_no_tenant_ends_too(product: Product):
    person = await product.signed_in()
    assert (await _rows(product, person))["sessions"] == 1
    assert await _end(person) == 204
    assert await _rows(product, person) == {"users": 1, "memberships": 0, "sessions": 0}


async def test_it_takes_the_present_password(product: Product):
    person = await product.signed_in()
    assert await _end(person, "not this one") == 422
    assert (await person.http.get("/v1/me")).status_code == 200


async def test_the_last_owner_of_any_tenant_stays_a_member_of_all(product: Product):
    person, shared = await product.signed_in(await product.tenant()), await product.tenant()
    await product.person(shared)
    await product.join(person, shared)
    assert await _end(person) == 409
    assert await _rows(product, person) == {"users": 1, "memberships": 2, "sessions": 1}


async def test_of_two_owners_who_end_their_accounts_at_once_one_stays(product: Product):
    tenant = await product.tenant()
    people = [await product.signed_in(tenant) for _ in range(2)]
    assert sorted(await asyncio.gather(*map(_end, people))) == [204, 409]


async def test_who_ends_it_twice_at_once_does_it_once(product: Product):
    person = await product.signed_in()
    assert sorted(await asyncio.gather(_end(person), _end(person))) == [204, 401]
    assert [event.action for event in await audited(product, person.id)] == ["user.erased"]


async def test_invitations_that_were_accepted_and_their_lines_in_the_log_hold_no_address(product: Product):
    tenant, person, other = await product.tenant(), await product.signed_in(), await product.signed_in()
    for each in (person, other):
        body = {"token": await token_of(product, tenant, await invite(tenant, each.email))}
        assert (await each.http.post("/v1/invitations/accept", json=body)).status_code == 200
    moved = text("update fanfold.users set email = 'm' || email, email_key = 'm' || email where id = :id")
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(moved, {"id": person.id})  # it was the address of then that was invited
    assert await _end(person) == 204
    shown = (await tenant.http.get("/v1/tenant/invitations")).json()["data"]
    assert {each["email"] for each in shown} == {f"erased:{person.id}", other.email}
    told = await of_tenant(product, tenant.id, "invitation", "member")
    assert len(told) == 5
    assert not [each for each in told if "@" in f"{each.before}{each.after}"]


async def test_an_operator_is_not_ended_over_http(product: Product):
    person = await product.signed_in(is_operator=True)
    assert await _end(person) == 409
