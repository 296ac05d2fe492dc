"""Signing in on /docs: what Swagger UI sends, as it sends it, from the addresses that the document gives it."""

from base64 import b64encode
from urllib.parse import urljoin

from tests.fixtures.app import PASSWORD, Product

# `Authorization` holds an empty client id and secret: nobody types one for the first party.
SWAGGER = {
    "Accept": "application/json, text/plain, */*",
    "Authorization": "Basic Og==",
    "Content-Type": "application/x-www-form-urlencoded",
    "X-Requested-With": "XMLHttpRequest",
}


async def test_whoever_signs_in_there_may_try_everything(product: Product):
    tenant = await product.tenant()
    person = await product.person(tenant)
    document = (await person.http.get("/openapi.json")).json()
    flow = document["components"]["securitySchemes"]["OAuth2"]["flows"]["password"]
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
    address = urljoin("/docs", flow["tokenUrl"])
    assert (
        urljoin("https://example.test/api/docs", flow["tokenUrl"]) == "https://example.test/api/v1/auth/token"
    )
    answer = await person.http.post(address, data=form, headers=SWAGGER)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["token_type"] == "bearer"
    assert set(tokens["scope"].split()) == set(flow["scopes"]) - {"operator"}
    sent = {"Authorization": f"Bearer {tokens['access_token']}"}
    for path in ("/v1/me", "/v1/usage", "/v1/upstreams", "/v1/api-keys"):
        assert (await person.http.get(path, headers=sent)).status_code == 200, path
    empty = await person.http.post(address, data=form | {"scope": ""}, headers=SWAGGER)
    assert empty.json()["scope"] == tokens["scope"]  # RFC 6749, section 3.2: without a value it is omitted
    chosen = await person.http.post(address, data=form | {"scope": "usage:read process"}, headers=SWAGGER)
    assert chosen.json()["scope"] == "process usage:read"


async def test_a_machine_client_signs_in_there_as_well(product: Product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant)
    client = (await person.http.post("/v1/clients", json={"name": "docs", "scopes": ["process"]})).json()
    document = (await person.http.get("/openapi.json")).json()
    flows = document["components"]["securitySchemes"]["OAuth2"]["flows"]
    assert set(flows["clientCredentials"]["scopes"]) == set(flows["password"]["scopes"]) - {"operator"}
    basic = b64encode(f"{client['id']}:{client['client_secret']}".encode()).decode()
    answer = await product.stranger().post(
        urljoin("/docs", flows["clientCredentials"]["tokenUrl"]),
        data={"grant_type": "client_credentials", "scope": ""},
        headers=SWAGGER | {"Authorization": f"Basic {basic}"},
    )
    assert (answer.status_code, answer.json().get("scope")) == (200, "process"), answer.text


async def test_a_sign_in_is_refreshed_where_the_document_says(product: Product):
    person = await product.signed_in()
    document = (await person.http.get("/openapi.json")).json()
    flow = document["components"]["securitySchemes"]["OAuth2"]["flows"]["password"]
    form = {"grant_type": "refresh_token", "refresh_token": person.tokens["refresh_token"]}
    answer = await product.stranger().post(urljoin("/docs", flow["refreshUrl"]), data=form, headers=SWAGGER)
    assert answer.status_code == 200, answer.text
    assert answer.json()["refresh_token"] != form["refresh_token"]


async def test_the_page_asks_for_no_client_and_its_policy_lets_it_ask_us_alone(product: Product):
    stranger = product.stranger()
    script = (await stranger.get("/docs/assets/start.js")).text
    assert 'initOAuth({ clientId: "",' in script
    assert "secret" not in script.lower()
    page = await stranger.get("/docs")
    assert "connect-src 'self';" in page.headers["content-security-policy"]
    assert "form-action 'none'" in page.headers["content-security-policy"]
