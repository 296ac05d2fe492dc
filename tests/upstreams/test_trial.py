"""`POST /v1/upstreams/{id}/test`: one call, what came of it, and what is wrong."""

import asyncio
import socket
from typing import Any

import pytest

from fanfold.core.config import DatabaseSettings
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import Upstream
from fanfold.upstreams.trial import SAMPLE, try_upstream
from tests.fanout.transports.calling import FixedResolver
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import connect

SECRET = 'sk-"canary"\\of-a-trial'


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def tried(tenant, url, **options):
    made = await tenant.upstream(url, **options)
    answer = await tenant.http.post(f"/v1/upstreams/{made['id']}/test")
    assert answer.status_code == 200, answer.text
    return answer.json()


# What the zoo does, what was registered, and what is then said of it.
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("status?code=400", {}, "status", "request_template"),
    ("status?code=401", {}, "status", "has none. Set `credential`"),
    ("status?code=401", {"credential": "c", "auth": {"header": "X-Key"}}, "status", "sent as `X-Key`"),
    ("status?code=402", {}, "status", "paid"),
    ("status?code=403", {}, "status", "rights of the credential"),
    ("status?code=404", {}, "status", "nothing at `POST /status`. Check the path of `url`."),
    ("nowhere/v1?key=x", {"kind": "openai", "model": "m"}, "status",
     "nothing at `POST /nowhere/v1/chat/completions`. Check the path of `url`, and `model`."),
    ("status?code=405", {"method": "GET"}, "status", "does not take `GET /status`. Check `method`"),
    ("status?code=415", {}, "status", "sent JSON"),
    ("status?code=418", {}, "status", "refuses the call (418)"),
    ("status?code=422", {}, "status", "`request_template`, `options`"),
    ("429", {"max_attempts": 3, "idempotent": True}, "status", "fewer requests"),
    ("500", {"max_attempts": 3, "idempotent": True}, "status", "its own side (500)"),
    ("503", {"max_attempts": 3, "idempotent": True}, "status", "its own side (503)"),
    ("redirect", {}, "status", "Register the final address"),
    ("garbage", {}, "invalid-answer", "not JSON"),
    ("wrong-type", {}, "invalid-answer", "page for people"),
    ("ok", {"response_path": "answer.text"}, "invalid-answer", "`response_path` picks nothing"),
    ("ok", {"response_path": "join(',', @)"}, "invalid-answer", "`response_path` picks nothing"),
    ("json?value=1", {"kind": "openai", "model": "m"}, "status", "nothing at `POST /json/chat/completions`"),
    ("204", {}, "invalid-answer", "answers POST /204 without any content"),
    ("noise", {}, "invalid-answer", "does not speak HTTP"),
    ("bomb", {}, "invalid-answer", "compressed"),
    ("huge", {}, "too-large", "larger"),
    ("hang", {"timeout_s": 0.5, "max_attempts": 3, "idempotent": True}, "timeout", "within 0.5 s"),
    ("drip", {"timeout_s": 0.5}, "timeout", "Raise `timeout_s`"),
    ("cut", {"max_attempts": 3, "idempotent": True}, "connect", "closed the connection"),
    ("reset", {"max_attempts": 3, "idempotent": True}, "connect", "closed the connection"),
]  # fmt: skip


async def test_each_thing_that_is_wrong_is_told_plainly_after_one_attempt(product, capsys):
    tenant, told = await product.tenant(), set()
    for path, options, code, words in WRONG:
        url = f"http://127.0.0.1:{product.zoo.port}/{path}"
        before = product.zoo.requests.total()
        answer = await tried(tenant, url, **options)
        assert (answer["success"], answer["result"]) == (False, None), path
        assert answer["error"]["code"] == code, path
        assert words in answer["advice"], (path, answer["advice"])
        assert answer["status"] == answer["error"]["status"], path
        assert product.zoo.requests.total() == before + 1, path
        told.add(answer["advice"])
    usage = await tenant.usage()
    assert (usage["used"], usage["reserved"]) == (0, 0)
    with capsys.disabled():
        print(f"\ntrials: {len(WRONG)} faults, {len(told)} pieces of advice, one attempt each, 0 units")


async def test_so_is_what_is_wrong_before_anything_is_sent(product):
    tenant = await product.tenant()

    async def plain(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        unsecured = await tried(tenant, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    refused = await tried(tenant, f"http://127.0.0.1:{free_port()}/")
    forbidden = await tenant.upstream("https://allowed.example/")
    superuser = await connect(product.database.superuser_url)
    moved = "update fanfold.upstreams set url = 'https://10.0.0.1/' where id = $1"  # past the guard that registers
    await superuser.execute(moved, forbidden["id"])
    await superuser.close()
    guarded = (await tenant.http.post(f"/v1/upstreams/{forbidden['id']}/test")).json()
    for answer, code, words in (
        (refused, "connect", "Nothing takes connections"),
        (unsecured, "connect", "certificate"),
        (guarded, "forbidden-address", "FANFOLD_UPSTREAM_ALLOWED_NETWORKS"),
    ):
        assert (answer["success"], answer["status"], answer["error"]["code"]) == (False, None, code), answer
        assert words in answer["advice"]
    assert product.zoo.requests.total() == 0


async def test_one_that_cannot_be_called_any_more_is_said_to_be_so_and_not_our_fault(product):
    tenant = await product.tenant()
    made = await tenant.upstream(product.zoo.url("ok"))
    superuser = await connect(product.database.superuser_url)
    changed = (
        "update fanfold.upstreams set request_template = '{\"n\": 1e20}' where id = $1"  # once it was taken
    )
    await superuser.execute(changed, made["id"])
    await superuser.close()
    answer = await tenant.http.post(f"/v1/upstreams/{made['id']}/test")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation"), answer.text
    assert "cannot be called as it is. request_template" in answer.json()["detail"]


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_so_is_a_name_without_an_address(kind):
    dialling = transport(kind, guard=AddressGuard(), max_connections=1, resolver=FixedResolver())
    async with FanOut(transport=dialling) as fan_out:
        answer = await try_upstream(fan_out, Upstream(kind="http_json", url="https://no-such-name.example/"))
    assert answer.error is not None
    assert (answer.success, answer.status, answer.error.code) == (False, None, "connect")
    assert "has no address" in str(answer.advice)


async def test_what_works_shows_its_answer(product):
    tenant = await product.tenant()
    answer = await tried(tenant, product.zoo.url("ok"), units_per_call=5)
    assert (answer["success"], answer["status"], answer["error"], answer["advice"]) == (True, 200, None, None)
    assert answer["result"] == '{"echo":"Hello, 世界"}'
    assert answer["latency_ms"] > 0
    chat = await tried(tenant, product.zoo.url("v1"), kind="openai", model="m")
    assert (chat["result"], chat["input_tokens"], chat["output_tokens"]) == (SAMPLE.upper(), 6, 2)
    long = await tried(tenant, product.zoo.url("ok", bytes=10_000))
    assert len(long["result"]) == 2_000
    off = await tried(tenant, product.zoo.url("ok"), enabled=False)
    assert off["success"] is True
    echo = await tried(tenant, "https://echo.example/", kind="echo")
    assert (echo["result"], echo["status"]) == (SAMPLE, None)
    usage = await tenant.usage()
    assert (usage["used"], usage["reserved"]) == (0, 0)
    assert (await tenant.http.get("/v1/usage/events")).json()["data"] == []


async def test_a_credential_that_comes_back_is_not_shown(product):
    tenant = await product.tenant()
    answer = await tried(tenant, product.zoo.url("headers"), credential=SECRET)
    assert '"authorization":"Bearer [credential]"' in answer["result"]
    assert "canary" not in answer["result"]
    picked = await tried(
        tenant, product.zoo.url("headers"), credential=SECRET, response_path="headers.authorization"
    )
    assert picked["result"] == "Bearer [credential]"


async def test_an_operator_tries_what_is_shared(product):
    made = await product.shared_upstream(product.zoo.url("headers"), credential=SECRET, enabled=False)
    answer = await (await product.operator()).post(f"/v1/admin/upstreams/{made['id']}/test")
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert "Bearer [credential]" in answer.json()["result"]


class TestLimits:
    async def test_it_counts_against_the_rate(self, product):
        tenant = await product.tenant(requests_per_minute=1, burst=2)
        made = await tenant.upstream("https://echo.example/", kind="echo")
        answers = [await tenant.http.post(f"/v1/upstreams/{made['id']}/test") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]

    async def test_it_counts_against_concurrent_requests(self, product):
        tenant = await product.tenant(max_concurrent_requests=1)
        made = await tenant.upstream(product.zoo.url("held"), timeout_s=30)
        path = f"/v1/upstreams/{made['id']}/test"
        first = asyncio.create_task(tenant.http.post(path))
        async with asyncio.timeout(30):
            while not product.zoo.requests["held"]:
                await asyncio.sleep(0.01)
        second = await tenant.http.post(path)
        assert (second.status_code, second.json()["code"]) == (429, "concurrency-exceeded")
        product.zoo.lets_go.set()
        assert (await first).json()["success"] is True

    async def test_it_takes_its_turn_for_a_slot(self, product):
        tenant = await product.tenant()
        made = await tenant.upstream(
            product.zoo.url("slow", ms=300, tag="t"), max_concurrency=1, timeout_s=10
        )
        path = f"/v1/upstreams/{made['id']}/test"
        answers = await asyncio.gather(*(tenant.http.post(path) for _ in range(3)), tenant.process("文"))
        assert all(answer.json()["success"] for answer in answers[:3])
        assert product.zoo.most_at_once_by_tag["t"] == 1

    async def test_it_neither_opens_the_circuit_of_requests_nor_waits_for_it(self, product):
        tenant = await product.tenant()
        made = await tenant.upstream(product.zoo.url("503"), max_attempts=1)
        path = f"/v1/upstreams/{made['id']}/test"

        async def codes_of_requests():
            processed = await tenant.process("字" * 20, split={"by": "characters", "size": 1})
            return {result["error"]["code"] for result in processed["results"]}

        for _ in range(2):  # as many failures, for as long, as open a circuit
            for _ in range(10):
                assert (await tenant.http.post(path)).json()["error"]["code"] == "status"
            await asyncio.sleep(1.1)
        assert (await tenant.http.post(path)).json()["error"]["code"] == "status"
        assert await codes_of_requests() == {"status"}
        async with asyncio.timeout(60):
            while "circuit-open" not in await codes_of_requests():
                await asyncio.sleep(0.2)
        assert (await tenant.http.post(path)).json()["error"]["code"] == "status"

    async def test_it_holds_no_connection_while_it_calls(self, database_urls):
        settings = product_settings(database_urls)
        one = DatabaseSettings(url=settings.database.url, pool_size=1, pool_timeout_s=10)
        async with running_product(database_urls, settings.model_copy(update={"database": one})) as product:
            tenant = await product.tenant()
            made = await tenant.upstream(product.zoo.url("held"), timeout_s=30)
            shared = await product.shared_upstream(product.zoo.url("held"), timeout_s=30)
            path, operator = f"/v1/upstreams/{made['id']}/test", await product.operator()
            slow = [asyncio.create_task(tenant.http.post(path)) for _ in range(5)]
            slow.append(asyncio.create_task(operator.post(f"/v1/admin/upstreams/{shared['id']}/test")))
            async with asyncio.timeout(30):
                while product.zoo.requests["held"] < len(slow):
                    await asyncio.sleep(0.01)
            assert (await tenant.http.get("/v1/upstreams")).status_code == 200
            assert not any(task.done() for task in slow)
            product.zoo.lets_go.set()
            assert all(answer.json()["success"] for answer in await asyncio.gather(*slow))
