"""No spelling, name, redirect or proxy leads to an address that upstreams may not have. Dials are counted."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.types import ErrorCode
from tests.fanout.transports.calling import LOOPBACK, PUBLIC_ONLY, FixedResolver, call, error_of, send
from tests.zoo import Zoo

PUBLIC = "93.184.216.34"
SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7F.0x0.0x0.0x1",
    "2130706433",
    "017700000001",
    "0177.0.0.01",
    "127.0.0.1.",
    "1%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "127.0.0.1.nip.test",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
]


class Listener:
    """Counts whoever connects, on all addresses of loopback, both families where the machine has them."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def _count(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._count, None, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    async with await listener.serve():
        yield listener


class TestSpellings:
    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize("host", SPELLINGS)
    async def test_no_spelling_of_loopback_connects(self, make, listener, host, scheme):
        with pytest.raises(CallFailed) as failed:
            await send(make(guard=PUBLIC_ONLY), f"{scheme}://{host}:{listener.port}/")
        assert listener.connections == 0
        assert failed.value.phase is Phase.NOTHING_SENT

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
    async def test_they_do_connect_where_the_operator_allows_loopback(self, make, zoo, host):
        guard = AddressGuard([ip_network("127.0.0.0/8")])
        assert (await send(make(guard=guard), zoo.url("ok", host=host))).status == 200

    async def test_the_code_says_that_the_address_is_forbidden(self, make, listener):
        outcome = await call(make(guard=PUBLIC_ONLY), f"https://127.0.0.1:{listener.port}/", max_attempts=3)
        assert error_of(outcome).code is ErrorCode.FORBIDDEN_ADDRESS
        assert outcome.attempts == 1


class TestNames:
    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"]
    )
    async def test_a_name_that_leads_to_a_forbidden_address_is_refused(self, make, listener, address):
        made = make(guard=PUBLIC_ONLY, resolver=FixedResolver([address]))
        with pytest.raises(CallFailed) as failed:
            await send(made, f"https://rebind.test:{listener.port}/")
        assert failed.value.error.code is ErrorCode.FORBIDDEN_ADDRESS
        assert listener.connections == 0

    async def test_each_dial_is_judged_by_itself(self, make, zoo):
        allowed = AddressGuard([ip_network("127.0.0.1/32")])
        resolver = FixedResolver(["127.0.0.1"], ["127.0.0.2"])
        made = make(guard=allowed, resolver=resolver)
        assert (await send(made, zoo.url("close", host="first.test"))).status == 200
        with pytest.raises(CallFailed) as failed:
            await send(made, zoo.url("close", host="second.test"))
        assert failed.value.error.code is ErrorCode.FORBIDDEN_ADDRESS
        assert zoo.connections == 1

    async def test_of_several_addresses_only_an_allowed_one_is_dialled(self, make, zoo):
        allowed = AddressGuard([ip_network("127.0.0.1/32")])
        resolver = FixedResolver(["127.0.0.2", "::1", "127.0.0.1", "10.0.0.1"])
        assert (
            await send(make(guard=allowed, resolver=resolver), zoo.url("ok", host="many.test"))
        ).status == 200
        assert zoo.connections == 1

    async def test_plain_http_is_not_dialled_outside_the_allowed_networks(self, make):
        made = make(guard=LOOPBACK, resolver=FixedResolver([PUBLIC]))
        for host in ("public.test", PUBLIC):
            with pytest.raises(CallFailed) as failed:
                await send(made, f"http://{host}/")
            assert failed.value.error.code is ErrorCode.FORBIDDEN_ADDRESS

    @pytest.mark.parametrize("port", [25, 80])
    async def test_a_port_that_upstreams_may_not_have_is_not_dialled(self, make, port):
        made = make(guard=PUBLIC_ONLY, resolver=FixedResolver([PUBLIC]))
        for host in ("public.test", PUBLIC):
            with pytest.raises(CallFailed) as failed:
                await send(made, f"https://{host}:{port}/")
            assert failed.value.error.code is ErrorCode.FORBIDDEN_ADDRESS

    async def test_what_a_resolver_returns_must_be_an_address(self, make, listener):
        made = make(guard=PUBLIC_ONLY, resolver=FixedResolver(["localhost"]))
        with pytest.raises(CallFailed):
            await send(made, f"https://odd.test:{listener.port}/")
        assert listener.connections == 0


class TestDetours:
    async def test_a_redirect_is_never_followed(self, make, zoo):
        async with Zoo() as target:
            outcome = await call(make(), zoo.url("redirect", to=target.url("ok")))
            error = error_of(outcome)
            assert (error.code, error.status) == (ErrorCode.STATUS, 302)
            assert target.connections == 0

    async def test_proxies_of_the_environment_are_ignored(self, make, zoo, listener, monkeypatch):
        proxy = f"http://127.0.0.1:{listener.port}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        assert (await send(make(), zoo.url("ok"))).status == 200
        with pytest.raises(CallFailed):
            await send(make(guard=PUBLIC_ONLY), f"https://127.0.0.1:{zoo.port}/")
        assert listener.connections == 0

    async def test_credentials_of_a_netrc_file_are_not_sent(self, make, zoo, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login operator password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert b"authorization" not in (await send(make(), zoo.url("headers"))).body
