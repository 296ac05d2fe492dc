from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.ratelimit.client_address import UNKNOWN, address_key, client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"), ip_network("127.0.0.1/32")]


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, object]:
    return {
        "type": "http",
        "client": None if peer is None else (peer, 50_000),
        "headers": [(name.encode(), value.encode("utf-8")) for name, value in headers],
    }


def address(peer: str | None, *headers: tuple[str, str]) -> str:
    return client_address(scope(peer, *headers), TRUSTED)


def by_xff(value: str, peer: str = "10.0.0.1") -> str:
    return address(peer, ("x-forwarded-for", value))


def by_forwarded(value: str, peer: str = "10.0.0.1") -> str:
    return address(peer, ("forwarded", value))


class TestPeer:
    @pytest.mark.parametrize("peer", [None, "", "unix:", "testclient", "/run/app.sock", "999.1.1.1"])
    def test_a_peer_without_an_address_is_unknown(self, peer: str | None) -> None:
        assert address(peer, ("x-forwarded-for", "8.8.8.8")) == UNKNOWN

    def test_a_scope_without_client_is_unknown(self) -> None:
        assert client_address({"type": "http", "headers": []}, TRUSTED) == UNKNOWN

    @pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip"])
    def test_a_stranger_cannot_name_another_address(self, name: str) -> None:
        assert address("203.0.113.7", (name, "8.8.8.8"), (name, "for=8.8.8.8")) == "203.0.113.7"

    def test_nobody_is_trusted_unless_told(self) -> None:
        for peer in ("127.0.0.1", "10.0.0.1", "::1"):
            assert client_address(scope(peer, ("x-forwarded-for", "8.8.8.8")), []) == peer

    def test_a_trusted_peer_without_header_is_the_client(self) -> None:
        assert address("10.0.0.1") == "10.0.0.1"

    def test_a_mapped_peer_is_its_ipv4(self) -> None:
        assert address("::ffff:203.0.113.7") == "203.0.113.7"
        assert address("::ffff:10.0.0.1", ("x-forwarded-for", "203.0.113.7")) == "203.0.113.7"

    def test_other_headers_do_not_count(self) -> None:
        assert address("10.0.0.1", ("x-real-ip", "8.8.8.8"), ("x-client-ip", "8.8.8.8")) == "10.0.0.1"


class TestXForwardedFor:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("8.8.8.8, 203.0.113.7", "203.0.113.7"),
            ("8.8.8.8, 10.9.9.9, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, 10.0.0.2,10.0.0.3", "203.0.113.7"),
            ("8.8.8.8,203.0.113.7 , 2001:db8:ffff::1, 10.0.0.3", "203.0.113.7"),
            ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("fe80::7%eth0", "fe80::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:DB8:0:0::7", "2001:db8::7"),
        ],
    )
    def test_the_nearest_hop_that_is_not_ours_is_the_client(self, value: str, found: str) -> None:
        assert by_xff(value) == found

    @pytest.mark.parametrize(
        "value",
        [
            "unknown",
            "_hidden",
            "",
            " , ",
            "8.8.8.8,",
            "8.8.8.8, 未知",
            "8.8.8.8, 1.2.3",
            "8.8.8.8, 010.1.2.3",
            "👻",
        ],
    )
    def test_a_hop_that_is_no_address_ends_at_the_proxy_that_reported_it(self, value: str) -> None:
        assert by_xff(value) == "10.0.0.1"
        assert by_xff(f"{value}, 10.0.0.2") == "10.0.0.2"

    def test_several_lines_are_one_list(self) -> None:
        lines = (("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "203.0.113.7, 10.0.0.2"))
        assert address("10.0.0.1", *lines) == "203.0.113.7"

    def test_only_the_nearest_hops_are_read(self) -> None:
        assert by_xff("203.0.113.7" + ", 10.0.0.2" * 100_000) == "10.0.0.2"
        assert by_xff("8.8.8.8, " * 100_000 + "203.0.113.7, 10.0.0.2") == "203.0.113.7"

    @given(st.text(max_size=60))
    def test_what_the_client_wrote_before_does_not_matter(self, written: str) -> None:
        try:
            header = written.encode("utf-8").decode("latin-1")
        except UnicodeEncodeError:
            header = "\\ud800"
        assert by_xff(f"{header}, 203.0.113.7") == "203.0.113.7"


class TestForwarded:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=8.8.8.8, FOR=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7"),
            ("proto=https; for=203.0.113.7 ; host=example.com, for=10.0.0.5", "203.0.113.7"),
            ('for="[2001:db8::7]:4711"', "2001:db8::7"),
            ('for="203.0.113.7:4711"', "203.0.113.7"),
            ("for=[2001:db8::7]", "2001:db8::7"),
            ('for=203.0.113.7;host="a, for=8.8.8.8"', "203.0.113.7"),
            ('for=203.0.113.7;host="a, for=8.8.8.8;x="', "203.0.113.7"),
            ('for=203.0.113.7;host="a\\", for=8.8.8.8;x="', "203.0.113.7"),
            ('host="a;for=8.8.8.8";for=203.0.113.7', "203.0.113.7"),
        ],
    )
    def test_the_nearest_hop_that_is_not_ours_is_the_client(self, value: str, found: str) -> None:
        assert by_forwarded(value) == found

    @pytest.mark.parametrize(
        "value",
        [
            "for=unknown",
            "for=_SEVKISEK",
            "proto=https",
            "203.0.113.7",
            "for=8.8.8.8,",
            'for="8.8.8.8',
            'for=8.8.8.8;host=", for=203.0.113.7;host="real"',
            'x="\\, for=203.0.113.7',
            "for=8.8.8.8 for=203.0.113.7",
            "for = 8.8.8.8",
            ";for=8.8.8.8",
            "",
        ],
    )
    def test_what_cannot_be_read_leaves_the_peer(self, value: str) -> None:
        assert by_forwarded(value) == "10.0.0.1"

    @given(st.text(alphabet='for=;,"\\ 8.[]:ab', max_size=60))
    def test_what_the_client_wrote_before_frees_nobody(self, written: str) -> None:
        found = by_forwarded(f'{written}, for=203.0.113.7;host="x"')
        assert found in {"203.0.113.7", "10.0.0.1"}

    def test_a_long_field_of_quotes_is_read_in_one_go(self) -> None:
        assert by_forwarded('a="' + '\\"' * 30_000) == "10.0.0.1"
        assert by_forwarded("a=b;" * 20_000 + "for=203.0.113.7") == "203.0.113.7"


class TestBothHeaders:
    def test_that_agree_are_believed(self) -> None:
        both = (("x-forwarded-for", "8.8.8.8, 203.0.113.7"), ("forwarded", "for=203.0.113.7, for=10.0.0.4"))
        assert address("10.0.0.1", *both) == "203.0.113.7"

    @pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
    def test_that_disagree_leave_the_peer(self, name: str) -> None:
        other = {"x-forwarded-for": ("forwarded", "for=8.8.8.8"), "forwarded": ("x-forwarded-for", "8.8.8.8")}
        mine = "203.0.113.7" if name == "x-forwarded-for" else "for=203.0.113.7"
        assert address("10.0.0.1", (name, mine), other[name]) == "10.0.0.1"


class TestAddressKey:
    @pytest.mark.parametrize(
        ("address", "key"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
            (UNKNOWN, UNKNOWN),
        ],
    )
    def test_is_the_address_or_the_subscribers_network(self, address: str, key: str) -> None:
        assert address_key(address) == key

    @given(st.ip_addresses())
    def test_is_one_key_for_every_address_of_a_network(self, address: object) -> None:
        key = address_key(str(address))
        assert ip_network(str(address)).subnet_of(ip_network(key))  # type: ignore[arg-type]  # same version
        assert ip_network(key).prefixlen in {32, 64}
