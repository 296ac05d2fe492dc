"""What other services find: keys that verify our tokens, and where things are."""

from jose import jwt

from fanfold.auth.principal import Scope
from fanfold.core.config import IdentitySettings
from tests.fixtures.app import Product, product_settings, running_product


async def test_a_token_is_verified_with_the_published_key_alone(product: Product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant)
    found = await product.stranger().get("/.well-known/jwks.json")
    assert "public" in found.headers["cache-control"]
    token = person.tokens["access_token"]
    header = jwt.get_unverified_header(token)
    key = next(each for each in found.json()["keys"] if each["kid"] == header["kid"])
    issuer = product.app.state.settings.server.own_url
    claims = jwt.decode(token, key, algorithms=[key["alg"]], audience=issuer, issuer=issuer)
    assert header["typ"] == "at+jwt"
    assert claims.keys() == {
        "iss", "aud", "exp", "iat", "jti", "sub", "client_id", "sid", "tid", "scope"
    }  # fmt: skip
    assert claims["exp"] - claims["iat"] == 600
    assert not {"d", "p", "q", "k"} & set(key)


async def test_a_symmetric_key_is_not_published(own_database):
    settings = product_settings(own_database)
    chosen = settings.model_copy(update={"identity": IdentitySettings(jwt_algorithm="HS256")})
    async with running_product(own_database, chosen) as product:
        await product.signed_in()
        assert (await product.stranger().get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_the_metadata_names_endpoints_that_are_there(product: Product):
    found = (await product.stranger().get("/.well-known/oauth-authorization-server")).json()
    issuer = product.app.state.settings.server.own_url
    assert found["issuer"] == issuer
    assert set(found["scopes_supported"]) == set(Scope)
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
        path = found[name].removeprefix(issuer)
        assert (await product.stranger().post(path, data={})).status_code in {400, 401}
    assert (await product.stranger().get(found["jwks_uri"].removeprefix(issuer))).status_code == 200


async def test_another_algorithm_signs_from_the_next_start_and_old_tokens_go_on(own_database):
    settings = product_settings(own_database)
    async with running_product(own_database, settings) as product:
        person = await product.signed_in()
        old = person.tokens["access_token"]
    chosen = settings.model_copy(update={"identity": IdentitySettings(jwt_algorithm="RS256")})
    async with running_product(own_database, chosen) as product:
        fresh = await product.signed_in()
        assert jwt.get_unverified_header(fresh.tokens["access_token"])["alg"] == "RS256"
        for token in (old, fresh.tokens["access_token"]):
            answer = await product.stranger().get("/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
