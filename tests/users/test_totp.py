"""The second factor. The dangers: a code that counts twice, guesses without end, a secret that opens elsewhere."""

import asyncio
from uuid import UUID

import pyotp
import pytest
from sqlalchemy import select

from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.errors import Conflict, NotReady, RateLimited, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.users.models import User
from fanfold.users.repository import UserRepository
from fanfold.users.totp import STEP_S, TRIES_BURST, SecondFactor, bound_to, new_enrolment
from tests.fixtures.app import SECRET, Product

NOW = 1_800_000_000.0


class Desk:
    """One person's second factor, with a clock that the test turns; each call in a transaction of its own."""

    def __init__(self, product: Product, user_id: UUID) -> None:
        self.product, self.user_id, self.now = product, user_id, NOW
        self.tries = MemoryStore()
        self.secret = ""

    async def call(self, name: str, *arguments):
        async with self.product.app.state.database.identity_session() as session, session.begin():
            users = UserRepository(session)
            factor = SecondFactor(users, KeyRing([SECRET]), self.tries, now=lambda: self.now)
            if name != "enrol":
                await factor.count_try(self.user_id)
            first = await users.get(self.user_id) if name == "check" else self.user_id
            return await getattr(factor, name)(first, *arguments)

    async def begun(self) -> "Desk":
        enrolment = await self.call("enrol")
        self.secret = enrolment.secret.get_secret_value()
        return self

    async def on(self) -> "Desk":
        """Have it, confirmed long ago."""
        await self.begun()
        await self.call("confirm", self.code(0))
        self.now += 100 * STEP_S
        return self

    def code(self, offset: int = 0) -> str:
        return pyotp.TOTP(self.secret).generate_otp(int(self.now) // STEP_S + offset)

    async def user(self) -> User:
        async with self.product.app.state.database.identity_session() as session:
            user: User | None = await session.scalar(select(User).where(User.id == self.user_id))
            assert user is not None
            return user


@pytest.fixture
async def desk(product: Product) -> Desk:
    return Desk(product, (await product.person()).id)


class TestEnrolling:
    async def test_counts_from_its_first_code_on(self, desk: Desk):
        await desk.begun()
        before = await desk.user()
        assert before.totp_sealed is None
        assert before.totp_wanted_sealed is not None
        assert not await desk.call("check", desk.code())
        await desk.call("confirm", desk.code())
        after = await desk.user()
        assert after.totp_sealed == before.totp_wanted_sealed
        assert after.totp_wanted_sealed is None

    async def test_a_wrong_first_code_changes_nothing(self, desk: Desk):
        await desk.begun()
        with pytest.raises(ValidationFailed) as refused:
            await desk.call("confirm", pyotp.TOTP(pyotp.random_base32()).generate_otp(1))
        assert refused.value.members["errors"][0]["loc"] == ["body", "code"]
        assert (await desk.user()).totp_sealed is None

    async def test_the_secret_asked_for_last_is_the_one(self, desk: Desk):
        first = (await desk.begun()).code()
        await desk.begun()
        with pytest.raises(ValidationFailed):
            await desk.call("confirm", first)
        await desk.call("confirm", desk.code())

    async def test_nobody_has_two_nor_confirms_none(self, desk: Desk):
        with pytest.raises(Conflict):
            await desk.call("confirm", "123456")
        await desk.on()
        with pytest.raises(Conflict):
            await desk.call("enrol")

    async def test_the_address_of_it_is_what_authenticators_read(self):
        enrolment = new_enrolment("用户+ada@例子.example")
        read = pyotp.parse_uri(enrolment.uri.get_secret_value())
        assert isinstance(read, pyotp.TOTP)
        assert (read.secret, read.issuer) == (enrolment.secret.get_secret_value(), "Fanfold")
        assert (read.digits, read.interval, read.name) == (6, STEP_S, "用户+ada@例子.example")

    async def test_the_secret_is_sealed_for_its_person_alone(self, desk: Desk):
        await desk.on()
        sealed = (await desk.user()).totp_sealed or b""
        assert desk.secret.encode() not in sealed
        with pytest.raises(SealBroken):
            KeyRing([SECRET]).unseal(sealed, bound_to=bound_to(uuid7()))


class TestCodes:
    async def test_hold_one_step_each_way_and_no_further(self, desk: Desk):
        await desk.on()
        assert not await desk.call("check", desk.code(-2))
        assert not await desk.call("check", desk.code(2))
        assert await desk.call("check", desk.code(-1))
        assert await desk.call("check", desk.code(1))

    async def test_none_counts_twice_nor_after_a_later_one(self, desk: Desk):
        await desk.on()
        assert await desk.call("check", desk.code(0))
        assert not await desk.call("check", desk.code(0))
        assert not await desk.call("check", desk.code(-1))

    async def test_the_first_code_is_used_too(self, desk: Desk):
        await desk.begun()
        await desk.call("confirm", desk.code())
        assert not await desk.call("check", desk.code())

    async def test_of_eight_at_once_one_counts(self, desk: Desk):
        await desk.on()
        desk.tries = _Unlimited()
        answers = await asyncio.gather(*(desk.call("check", desk.code()) for _ in range(8)))
        assert answers.count(True) == 1

    @pytest.mark.parametrize(
        "wrong", ["", "12345", "1234567", "abcdef", "１２３４５６", "🙂🙂🙂🙂🙂🙂", "12345\n"]
    )
    async def test_what_is_no_code_is_wrong(self, desk: Desk, wrong):
        await desk.on()
        assert not await desk.call("check", wrong)

    async def test_tries_are_counted_right_or_wrong_and_the_step_is_not_burnt_by_a_refusal(self, desk: Desk):
        await desk.on()
        desk.tries = MemoryStore()
        for _ in range(TRIES_BURST):
            assert not await desk.call("check", "000000" if desk.code() != "000000" else "000001")
        with pytest.raises(RateLimited) as refused:
            await desk.call("check", desk.code())
        assert int(refused.value.headers["Retry-After"]) >= 1
        desk.tries = MemoryStore()
        assert await desk.call("check", desk.code())

    async def test_uncounted_none_is_looked_at(self, desk: Desk):
        await desk.on()
        desk.tries = _Away()
        with pytest.raises(NotReady):
            await desk.call("check", desk.code())


class TestRemoving:
    async def test_takes_a_code(self, desk: Desk):
        await desk.on()
        with pytest.raises(ValidationFailed):
            await desk.call("remove", "000000" if desk.code() != "000000" else "000001")
        await desk.call("remove", desk.code())
        assert (await desk.user()).totp_sealed is None
        with pytest.raises(Conflict):
            await desk.call("remove", desk.code())
        await (await desk.begun()).call("confirm", desk.code())

    async def test_an_operator_keeps_it(self, product: Product):
        desk = Desk(product, (await product.person(is_operator=True)).id)
        for call in (("enrol",), ("remove", "123456")):
            with pytest.raises(Conflict, match="fanfold operators"):
                await desk.call(*call)


class _Unlimited(MemoryStore):
    async def take(self, buckets):
        return await MemoryStore().take(buckets)


class _Away(MemoryStore):
    async def take(self, _buckets):
        raise StoreUnavailable
