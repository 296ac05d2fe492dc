import pytest
from starlette.types import Message

from fanfold.core.config import ServerSettings
from fanfold.core.trusted_hosts import TrustedHostMiddleware
from fanfold.main import create_app
from tests.adversarial.judging import judge_problem
from tests.adversarial.raw import send_raw
from tests.fixtures.app import product_settings, running_product

ALLOWED = ["example.com", "*.例子.com", "[::1]", "127.0.0.1"]


@pytest.fixture(scope="module")
def settings(database_urls):
    server = ServerSettings(allowed_hosts=ALLOWED, public_url="https://public.example")
    return product_settings(database_urls).model_copy(update={"server": server})


@pytest.fixture(scope="module")
async def running_app(database_urls, settings):
    async with running_product(database_urls, settings) as product:
        yield product.app


class Seen:
    """An application that remembers what reached it."""

    def __init__(self):
        self.passed = False

    async def __call__(self, _scope, _receive, _send):
        self.passed = True


async def passes(*hosts: bytes, path: str = "/v1/usage", allowed=ALLOWED, kind: str = "http", **scope):
    seen, sent = Seen(), []
    allowed = ServerSettings(allowed_hosts=allowed).allowed_hosts

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", host) for host in hosts]
    request = {"type": kind, "method": "GET", "path": path, "headers": headers, **scope}
    await TrustedHostMiddleware(seen, allowed=allowed)(request, None, send)  # type: ignore[arg-type]  # not read
    assert seen.passed != bool(sent)
    return seen.passed, sent


@pytest.mark.parametrize(
    "host",
    [b"example.com", b"EXAMPLE.com", b"example.com:8000", b"example.com.", b"Example.Com.:443", b"example.com:",
     b"a.xn--fsqu00a.com", b"a.b.XN--FSQU00A.com", b"[::1]", b"[0:0:0::1]:8000", b"127.0.0.1:1"],
)  # fmt: skip
async def test_a_name_of_ours_passes_however_it_is_written(host):
    assert (await passes(host))[0]


@pytest.mark.parametrize(
    "host",
    [b"", b"evil.com", b"a.example.com", b"example.com.evil.com", b"evilexample.com", b"example.com..", b".",
     b"xn--fsqu00a.com", b".xn--fsqu00a.com", b"*.xn--fsqu00a.com", b"evil.com@example.com",
     b"example.com:80@evil.com",
     b"example.com/", b"example.com#", b"example.com, evil.com", b"example.com evil.com", b"example.com:8x", b"::1",
     b"[::1", b"[::2]", b"[::1].example.com", b"http://example.com", b"\xe4\xbe\x8b\xe5\xad\x90.com",
     b"example.com\x00"],
)  # fmt: skip
async def test_another_name_does_not(host):
    assert not (await passes(host))[0]


async def test_none_or_two_do_not():
    assert not (await passes())[0]
    assert not (await passes(b"example.com", b"example.com"))[0]
    assert not (await passes(b"example.com", b"evil.com", allowed=["*"]))[0]


async def test_any_passes_by_default():
    assert ServerSettings().allowed_hosts == ["*"]
    assert (await passes(b"evil.com", allowed=["*"]))[0]
    assert (await passes(allowed=["*"]))[0]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_who_watches_may_ask_by_address(path):
    assert (await passes(b"10.0.0.7:8000", path=path))[0]
    assert (await passes(path=path))[0]
    assert (await passes(b"10.0.0.7", path=f"/api{path}", root_path="/api"))[0]
    assert not (await passes(b"10.0.0.7", path=f"{path}/x"))[0]


async def test_a_websocket_is_closed():
    passed, sent = await passes(b"evil.com", kind="websocket")
    assert (passed, sent) == (False, [{"type": "websocket.close", "code": 1008}])
    assert (await passes(b"example.com", kind="websocket"))[0]


async def test_the_refusal_is_a_problem_and_comes_before_everything_else(settings):
    host = ("host", b"evil-canary.com")
    app = create_app(settings)  # not started: whoever got further would find no resources
    answer = await send_raw(app, "GET", "/v1/usage", [host, ("authorization", b"Bearer ff_live_x")])
    assert judge_problem(answer, canary="evil-canary", status={400}) == ""
    assert answer.json()["code"] == "malformed-request"
    assert "FANFOLD_ALLOWED_HOSTS" in answer.json()["detail"]
    assert answer.headers["x-request-id"]


async def test_no_address_is_made_of_the_header(product):
    tenant = await product.tenant()
    named = {"Host": "a.xn--fsqu00a.com"}
    made = await tenant.http.post("/v1/api-keys", json={"name": "x"}, headers=named)
    assert made.status_code == 201, made.text
    answers = [
        made,
        *[await tenant.http.get(path, headers=named) for path in ("/", "/docs", "/v1/api-keys/")],
    ]
    for answer in answers:
        shown = answer.text + str(answer.headers)
        assert "fsqu00a" not in shown
    assert made.headers["location"].startswith("/v1/api-keys/")
