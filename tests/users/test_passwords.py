"""Passwords: how they are kept, which are too easy, and that no loop waits for them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fanfold.core.errors import Overloaded, ValidationFailed
from fanfold.users.passwords import Passwords, hash_of_none
from fanfold.users.strength import weakness
from tests.fixtures.app import PASSWORD, Product, product_settings, running_product

# Made elsewhere: bcrypt 5.0, cost 4; the long one of its first 72 bytes, as PHP and others do without a word.
LONG = "密码" * 20 + "x" * 20
BCRYPT = {
    "$2y$": ("hello world", "$2y$04$/N2qd0N1BtfdPq/qDoSi.eyYAC5Rcy.TZy/ekBgjBd55IKK.aq1AS"),
    "$2a$": ("hello world", "$2a$04$/N2qd0N1BtfdPq/qDoSi.eyYAC5Rcy.TZy/ekBgjBd55IKK.aq1AS"),
    "long": (LONG, "$2b$04$T8v.hrVPFOGutK7KdDkOSeQgGlLstiR0kIeGhq86l9r/66qrVruJC"),
}


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=1, queue=1)
    yield made
    made.close()


@pytest.mark.parametrize("kind", BCRYPT)
def test_bcrypt_of_elsewhere_is_verified_and_better_is_kept(passwords, kind):
    password, hashed = BCRYPT[kind]
    is_right, better = passwords.verify_and_update(password, hashed)
    assert is_right
    assert better.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify_and_update(password, better) == (True, None)
    assert passwords.verify_and_update("wrong", hashed) == (False, None)


def test_the_hash_of_none_costs_what_others_cost_and_is_nobodys(passwords):
    made_up, made = hash_of_none(), passwords.hash(PASSWORD)
    assert made_up.split("$")[:-2] == made.split("$")[:-2]
    assert list(map(len, made_up.split("$"))) == list(map(len, made.split("$")))
    assert passwords.verify_and_update(PASSWORD, made_up) == (False, None)
    assert hash_of_none() != made_up


@pytest.mark.parametrize("kind", BCRYPT)
async def test_such_a_person_signs_in_and_is_upgraded(product: Product, kind):
    password, hashed = BCRYPT[kind]
    person = await product.person(hashed_password=hashed)
    for _ in range(2):
        await person.sign_in(password=password)
    async with product.app.state.database.identity_session() as session:
        kept = (await session.connection()).exec_driver_sql
        found = (
            await kept("select hashed_password from fanfold.users where id = $1", (person.id,))
        ).scalar_one()
    assert found.startswith("$argon2id$")


@pytest.mark.parametrize("hashed", ["", "!", "plain", "$2b$", "$2b$04$short", "$argon2id$v=19$"])
@pytest.mark.parametrize("password", ["", "x", "\0", "\ud800", "x" * 5_000])
def test_what_is_no_hash_and_what_no_hash_can_hold_is_wrong_and_nothing_worse(passwords, hashed, password):
    assert passwords.verify_and_update(password, hashed) == (False, None)


@pytest.mark.parametrize(
    "password",
    ["password123", "12345678", "qwertyuiop", "aaaaaaaaaaaaaaaa", "1234567890" * 12,
     "p4ssw0rd", "iloveyou", "ada-lovelace"],
)  # fmt: skip
def test_what_everybody_tries_first_is_refused_in_words(password):
    said = weakness(password, ["ada-lovelace"])
    assert said is not None
    assert said.startswith("Too easy to guess. ")
    assert password not in said


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "sieben grüne Drachen", "七只绿色的龙飞过去了", "🐉🪁🌊🏔️🎻🧵🪴🧊"],
)  # fmt: skip
def test_what_nobody_guesses_is_taken_in_any_script(password):
    assert weakness(password) is None


async def test_a_poor_one_is_a_422_that_says_where(passwords):
    with pytest.raises(ValidationFailed) as raised:
        await passwords.chosen("password123", known=(), member="new_password")
    assert raised.value.members["errors"][0]["loc"] == ["body", "new_password"]


async def test_all_of_it_happens_in_threads_of_its_own():
    seen = set()

    class Watched(Passwords):
        def hash(self, password: str) -> str:
            seen.add(threading.current_thread().name)
            return super().hash(password)

        def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
            seen.add(threading.current_thread().name)
            return super().verify_and_update(plain_password, hashed_password)

    watched = Watched(threads=1, queue=5)
    hashed = await watched.hashed("x")
    await watched.chosen("correct horse battery", known=())
    assert await watched.verified("x", hashed) == (True, None)
    assert await watched.verified("x", None) == (False, None)
    watched.close()
    assert len(seen) == 1
    assert threading.main_thread().name not in seen


class Held(Passwords):
    """Verifies when it is told to."""

    def __init__(self, *, threads: int, queue: int) -> None:
        super().__init__(threads=threads, queue=queue)
        self.go = threading.Event()

    def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
        assert self.go.wait(30)
        return super().verify_and_update(plain_password, hashed_password)


async def test_beyond_its_queue_a_sign_in_is_refused_with_503(own_product: Product):
    held = Held(threads=1, queue=1)
    own_product.app.state.passwords = held
    people = [await own_product.person() for _ in range(3)]
    forms = [{"username": person.email, "password": PASSWORD} for person in people]
    try:
        waiting = [
            asyncio.create_task(person.http.post("/v1/auth/token", data=form))
            for person, form in list(zip(people, forms, strict=True))[:2]
        ]
        async with asyncio.timeout(60):
            while held._offload.running + held._offload.waiting < 2:
                await asyncio.sleep(0.01)
        refused = await people[2].http.post("/v1/auth/token", data=forms[2])
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        registered = await own_product.stranger().post(
            "/v1/auth/register", json={"email": "full@example.com", "password": "sieben grüne Drachen"}
        )
        assert (registered.status_code, registered.json()["code"]) == (503, "overloaded")
    finally:
        held.go.set()
    assert [(await each).status_code for each in waiting] == [200, 200]
    held.close()


async def test_nobody_waits_for_a_connection_while_a_password_is_verified(database_urls, mails):
    settings = product_settings(database_urls, mail=mails)
    one = settings.database.model_copy(update={"pool_size": 2, "pool_timeout_s": 30.0})
    async with running_product(database_urls, settings.model_copy(update={"database": one})) as product:
        people, other = [await product.person() for _ in range(2)], await product.signed_in()
        held = product.app.state.passwords = Held(threads=1, queue=1)
        forms = [{"username": person.email, "password": PASSWORD} for person in people]
        waiting = [
            asyncio.create_task(person.http.post("/v1/auth/token", data=form))
            for person, form in zip(people, forms, strict=True)
        ]
        try:
            async with asyncio.timeout(60):
                while held._offload.running + held._offload.waiting < 2:
                    await asyncio.sleep(0.01)
            assert (await other.http.get("/v1/me")).status_code == 200
        finally:
            held.go.set()
        assert [(await each).status_code for each in waiting] == [200, 200]
        held.close()


async def test_the_queue_s_refusal_is_ours():
    full = Held(threads=1, queue=1)
    tasks = [asyncio.create_task(full.verified("x", "y")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await full.verified("x", "y")
    full.go.set()
    await asyncio.gather(*tasks)
    full.close()
