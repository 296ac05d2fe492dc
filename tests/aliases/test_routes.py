"""The tutorials' paths."""

import secrets

import httpx


async def test_root_names_version_and_links(product):
    answer = (await product.http().get("/")).json()
    assert (answer["name"], answer["links"]["docs"]) == ("fanfold", "/docs")
    assert answer["version"] == product.app.version


async def test_ping_pongs(product):
    assert (await product.http().get("/ping")).json() == {"message": "pong"}


async def test_strangers_are_limited_by_address(product):
    # An address of its own: the limit is one over all applications on the database.
    address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    transport = httpx.ASGITransport(app=product.app, client=(address, 1))
    stranger = httpx.AsyncClient(transport=transport, base_url="http://fanfold.test")
    answers = [await stranger.get("/ping") for _ in range(21)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"address";q=20;w=20'
    assert (await stranger.get("/healthz")).status_code == 200


async def test_process_wants_ten_characters_and_a_key(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    assert (await product.http().post("/process/", json={"text": "x" * 10})).status_code == 401
    assert (await tenant.http.post("/process/", json={"text": "x" * 9})).status_code == 422
    assert (await tenant.http.post("/process/", json={"text": "x" * 10})).status_code == 200


async def test_a_path_with_a_slash_too_many_is_not_found(product):
    tenant = await product.tenant()
    assert (await tenant.http.post("/v1/process/", json={"text": "x"})).status_code == 404
