"""Nobody gets in with an access token that we did not sign, for us, as it stands, just now."""

import pytest
from sqlalchemy import event

from fanfold.core.config import IdentitySettings
from tests.fixtures.app import Product, product_settings, running_product
from tests.oauth.forging import Forge, forgeries

# Signed with our own key, so that the sign-in which they name has to be looked up; no stranger can make them.
OUR_OWN = ("sub ", "sid ", "tid ", "no tid", "jti ")


def _is_our_own(trick: str) -> bool:
    return trick.startswith(OUR_OWN)


async def _forge(product: Product) -> tuple[Forge, str]:
    person = await product.signed_in(await product.tenant())
    token = person.tokens["access_token"]
    return Forge(token, await product.app.state.signing_keys.signing()), token


async def test_no_forged_token_is_taken_and_none_of_a_stranger_reaches_the_sign_ins(
    product: Product, figures
):
    forge, token = await _forge(product)
    found = forgeries(forge)
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    engine = product.app.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for trick, forged in found.items():
            asked.clear()
            stranger = product.stranger()
            answer = await stranger.get("/v1/me", headers={"Authorization": f"Bearer {forged}"})
            assert answer.status_code == 401, f"{trick}: {answer.status_code}"
            assert answer.json()["code"] == "not-authenticated"
            looked_up = any("authenticate_session" in statement for statement in asked)
            assert not looked_up or _is_our_own(trick), f"{trick}: reached the sign-ins"
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(found) >= 24
    whole = await product.stranger().get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert whole.status_code == 200
    figures(f"forged access tokens: {len(found)} tricks, {len(found)} refused")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
async def test_each_algorithm_signs_and_no_token_outlives_its_signature(own_database, algorithm):
    settings = product_settings(own_database)
    chosen = settings.model_copy(update={"identity": IdentitySettings(jwt_algorithm=algorithm)})
    async with running_product(own_database, chosen) as product:
        person = await product.signed_in(await product.tenant())
        assert (await person.http.get("/v1/me")).status_code == 200
        head, payload, signature = person.tokens["access_token"].split(".")
        first = "B" if signature[0] == "A" else "A"
        answer = await product.stranger().get(
            "/v1/me", headers={"Authorization": f"Bearer {head}.{payload}.{first}{signature[1:]}"}
        )
        assert answer.status_code == 401
