import pytest

from fanfold.core.config import ServerSettings
from fanfold.core.cors import SENT, SHOWN
from tests.adversarial.raw import send_raw
from tests.fixtures.app import product_settings, running_product

PAGE, FOREIGN = "https://app.example.com", "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def served(database_urls, **server):
    settings = product_settings(database_urls)
    return running_product(database_urls, settings.model_copy(update={"server": ServerSettings(**server)}))


@pytest.fixture(scope="module")
async def running_app(database_urls):
    async with served(database_urls, cors_origins=[PAGE, "https://例子.com"]) as product:
        yield product.app


def allowed(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_a_page_of_ours_reads_answers_and_their_headers(product):
    tenant = await product.tenant()
    shown = {name.lower() for name in SHOWN}
    for page in (PAGE, "https://xn--fsqu00a.com"):
        answer = await tenant.http.get("/v1/usage", headers={"Origin": page})
        assert answer.status_code == 200
        assert allowed(answer) == {
            "access-control-allow-origin": page,
            "access-control-expose-headers": ", ".join(SHOWN),
        }
        assert answer.headers["vary"] == "Origin"
        assert {
            "ratelimit",
            "ratelimit-policy",
            "x-request-id",
            "x-process-time",
        } <= shown & answer.headers.keys()


async def test_refusals_can_be_read_too(product):
    limited = await product.tenant(requests_per_minute=1, burst=1)
    await limited.http.get("/v1/usage")
    page = {"Origin": PAGE}
    answers = [
        await product.stranger().get("/v1/usage", headers=page),
        await product.stranger().get("/v1/usage", headers=page | {"Authorization": "Bearer ff_live_x"}),
        await limited.http.get("/v1/usage", headers=page),
        await product.stranger().get("/nothing", headers=page),
        await limited.http.request("PUT", "/v1/usage", headers=page),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 404, 405]
    for answer in answers:
        assert allowed(answer)["access-control-allow-origin"] == PAGE
    assert "retry-after" in {name.lower() for name in SHOWN} & answers[2].headers.keys()


async def test_a_preflight_needs_no_credential_and_counts_against_no_limit(product):
    stranger = product.stranger()
    asked = {"Origin": PAGE, **PREFLIGHT}
    answers = [await stranger.options("/v1/process", headers=asked) for _ in range(50)]  # its burst is 20
    assert {(answer.status_code, answer.content) for answer in answers} == {(204, b"")}
    answer = answers[-1]
    assert allowed(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST, PATCH, DELETE",
        "access-control-allow-headers": ", ".join(sorted({*SENT, "Accept-Language", "Content-Language"})),
        "access-control-max-age": "600",
    }
    assert "Origin" in answer.headers["vary"]
    assert (await stranger.get("/ping")).status_code == 200


async def test_a_preflight_repeats_nothing_that_it_is_asked_for(product):
    asked = {"Access-Control-Request-Method": "CANARY", "Access-Control-Request-Headers": "x-canary"}
    answer = await product.stranger().options("/v1/process", headers={"Origin": PAGE, **asked})
    assert answer.status_code == 204
    assert "canary" not in str(answer.headers).lower()


@pytest.mark.parametrize(
    "page",
    [FOREIGN, "null", "https://app.example.com.evil.example", "http://app.example.com", "https://app.example.com:8443",
     "https://sub.app.example.com", "https://APP.example.com", "", "*"],
)  # fmt: skip
async def test_a_page_of_others_learns_nothing(product, page):
    tenant = await product.tenant()
    answer = await tenant.http.get("/v1/usage", headers={"Origin": page})
    assert (answer.status_code, allowed(answer)) == (200, {})
    assert answer.headers["vary"] == "Origin"
    refused = await tenant.http.options("/v1/process", headers={"Origin": page, **PREFLIGHT})
    assert (refused.status_code, refused.json()["code"], allowed(refused)) == (405, "method-not-allowed", {})


async def test_of_several_origins_none_is_believed(product):
    sent = [("origin", PAGE.encode()), ("origin", FOREIGN.encode())]
    answer = await send_raw(product.app, "GET", "/ping", sent)
    assert FOREIGN not in str(answer.headers)


async def test_it_is_off_by_default(database_urls):
    assert ServerSettings().cors_origins == []
    async with served(database_urls) as product:
        answer = await product.stranger().get("/ping", headers={"Origin": PAGE})
        assert (allowed(answer), answer.headers.get("vary")) == ({}, None)
        asked = await product.stranger().options("/ping", headers={"Origin": PAGE, **PREFLIGHT})
        assert (asked.status_code, allowed(asked)) == (405, {})


async def test_any_page_may_ask_but_with_no_cookie(database_urls):
    async with served(database_urls, cors_origins=["*"]) as product:
        stranger, page = product.stranger(), {"Origin": FOREIGN}
        for answer in (
            await stranger.get("/ping", headers=page),
            await stranger.options("/ping", headers=page | PREFLIGHT),
        ):
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers


async def test_named_pages_may_send_cookies_where_the_operator_says_so(database_urls):
    async with served(database_urls, cors_origins=[PAGE], cors_credentials=True) as product:
        for page, expected in ((PAGE, "true"), (FOREIGN, None)):
            for headers in ({"Origin": page}, {"Origin": page, **PREFLIGHT}):
                answer = await product.stranger().request(
                    "OPTIONS" if len(headers) > 1 else "GET", "/ping", headers=headers
                )
                assert answer.headers.get("access-control-allow-credentials") == expected
                assert answer.headers.get("access-control-allow-origin") == (expected and page)
