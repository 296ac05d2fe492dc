"""Known and unknown addresses cost the same work, so that no time tells one from the other: counted, not measured."""

from collections.abc import AsyncIterator

import pytest

from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository
from tests.adversarial.test_credentials import queries
from tests.fixtures.app import PASSWORD, Product, product_settings, running_product
from tests.users.mailbox import new_address

GOOD = "sieben grüne Drachen 七只"


class Counted(Passwords):
    """Notes what it verifies against, and how often it hashes."""

    def __init__(self) -> None:
        super().__init__(threads=1, queue=10)
        self.done: list[str] = []

    def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
        self.done.append(f"verified {hashed_password[:30]}")
        return super().verify_and_update(plain_password, hashed_password)

    def hash(self, password: str) -> str:
        self.done.append("hashed")
        return super().hash(password)


@pytest.fixture
async def counted(product: Product) -> AsyncIterator[Counted]:
    passwords = Counted()
    product.app.state.passwords = passwords
    yield passwords
    passwords.close()


async def _addresses(product: Product) -> dict[str, str]:
    """Return addresses of each kind."""
    return {
        "known": (await product.person()).email,
        "unknown": new_address(),
        "inactive": (await product.person(is_active=False)).email,
        "not verified": (await product.person(is_verified=False)).email,
        "without a password": (await product.person(hashed_password="")).email,
    }


async def test_a_sign_in_verifies_one_password_of_one_cost(product: Product, counted: Counted):
    addresses = await _addresses(product) | {"no address": "nobody"}
    work = {}
    for kind, address in addresses.items():
        counted.done.clear()
        form = {"username": address, "password": "wrong"}
        assert (await product.stranger().post("/v1/auth/token", data=form)).status_code == 400
        work[kind] = list(counted.done)
    assert work == {kind: ["verified $argon2id$v=19$m=19456,t=2,p=1"] for kind in addresses}


async def test_a_registration_hashes_one_password_and_writes_one_person_and_one_mail(
    product: Product, counted: Counted
):
    work = {}
    for kind, address in (await _addresses(product)).items():
        counted.done.clear()
        with queries(product) as sent:
            body = {"email": address, "password": GOOD, "tenant_name": "Mine"}
            assert (await product.stranger().post("/v1/auth/register", json=body)).status_code == 202
        work[kind] = (list(counted.done), _written(sent, "users"), _written(sent, "outbox"))
    assert work == dict.fromkeys(work, (["hashed"], 1, 1))


async def test_a_registration_by_invitation_hashes_for_the_uninvited_too(database_urls, tmp_path):
    settings = product_settings(database_urls, mail=tmp_path)
    identity = settings.identity.model_copy(update={"registration": "invite"})
    async with running_product(database_urls, settings.model_copy(update={"identity": identity})) as product:
        counted = product.app.state.passwords = Counted()
        body = {"email": new_address(), "password": GOOD}
        with queries(product) as sent:
            assert (await product.stranger().post("/v1/auth/register", json=body)).status_code == 202
        assert (counted.done, _written(sent, "outbox")) == (["hashed"], 1)
        counted.close()


@pytest.mark.parametrize("path", ["forgot-password", "request-verify"])
async def test_asking_for_a_mail_writes_one_row(product: Product, path: str):
    written = {}
    for kind, address in (await _addresses(product)).items():
        with queries(product) as sent:
            answer = await product.stranger().post(f"/v1/auth/{path}", json={"email": address})
        assert answer.status_code == 202
        written[kind] = _written(sent, "outbox")
    assert written == dict.fromkeys(written, 1)


def _written(sent: list[str], table: str) -> int:
    return sum(statement.lower().startswith(f"insert into fanfold.{table} ") for statement in sent)


async def test_a_password_that_is_changed_while_it_is_verified_signs_nobody_in(product: Product):
    person = await product.person()

    class Changing(Passwords):
        """Somebody else changes the password meanwhile."""

        async def verified(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
            found = await super().verified(password, hashed)
            async with product.app.state.database.identity_session() as session, session.begin():
                users = UserRepository(session)
                user = await users.lock(person.id)
                assert user is not None
                await users.update(user, {"hashed_password": self.hash(GOOD)})
            return found

    changing = product.app.state.passwords = Changing(threads=1, queue=1)
    form = {"username": person.email, "password": PASSWORD}
    answer = await product.stranger().post("/v1/auth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    changing.close()
