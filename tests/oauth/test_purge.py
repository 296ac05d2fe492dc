"""What has been over for a week goes: sign-ins with their refresh tokens, and retired keys; what holds stays."""

from datetime import timedelta

from sqlalchemy import func, insert, select, update

from fanfold.oauth.models import RefreshToken, SignIn, SigningKeyRecord
from fanfold.oauth.purge import KEPT, SignInPurge
from tests.fixtures.app import Person, Product, product_settings, running_product
from tests.oauth.test_rights_now import change

LONG_OVER, JUST_OVER = KEPT + timedelta(minutes=1), KEPT - timedelta(minutes=1)


async def _is_there(product: Product, person: Person) -> tuple[bool, bool]:
    """Return whether the person's sign-in is there, and whether a refresh token of it is."""
    sign_ins = select(func.count()).select_from(SignIn).where(SignIn.user_id == person.id)
    tokens = select(func.count()).select_from(RefreshToken)
    async with product.app.state.database.identity_session() as session:
        mine = tokens.join(SignIn, SignIn.id == RefreshToken.session_id).where(SignIn.user_id == person.id)
        return bool(await session.scalar(sign_ins)), bool(await session.scalar(mine))


async def _age(product: Product, person: Person, column: str, by: timedelta) -> None:
    mine = update(SignIn).where(SignIn.user_id == person.id)
    await change(product, mine.values({column: func.now() - by}))


async def test_sign_ins_and_their_tokens_go_a_week_after_their_end(product: Product):
    gone = [await product.signed_in() for _ in range(2)]
    kept = [await product.signed_in() for _ in range(3)]
    for person, column in zip(gone, ("expires_at", "revoked_at"), strict=True):
        await _age(product, person, column, LONG_OVER)
    for person, column in zip(kept, ("expires_at", "revoked_at"), strict=False):
        await _age(product, person, column, JUST_OVER)
    purge = SignInPurge(product.app.state.database)
    await purge.round()
    assert [await _is_there(product, person) for person in gone] == [(False, False)] * 2
    assert [await _is_there(product, person) for person in kept] == [(True, True)] * 3
    assert (await kept[2].http.get("/v1/me")).status_code == 200
    assert purge.done >= 2
    assert purge.failures == 0


async def test_retired_keys_go_and_the_one_that_signs_stays(own_database):
    async with running_product(own_database, product_settings(own_database)) as product:
        for kid, by in (("long over", LONG_OVER), ("just over", JUST_OVER)):
            row = {"kid": kid, "algorithm": "ES256", "private_sealed": b"x", "retired_at": func.now() - by}
            await change(product, insert(SigningKeyRecord).values(row))
        signing = (await product.app.state.signing_keys.signing()).kid
        await SignInPurge(product.app.state.database).round()
        async with product.app.state.database.identity_session() as session:
            kids = set(await session.scalars(select(SigningKeyRecord.kid)))
    assert kids == {"just over", signing}


class Away:
    """A database that cannot be reached."""

    def identity_session(self):
        raise ConnectionError


async def test_a_database_that_is_away_ends_no_loop():
    purge = SignInPurge(Away())  # type: ignore[arg-type]  # a fake
    await purge.round()
    assert (purge.failures, purge.done) == (1, 0)
