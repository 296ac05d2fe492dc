"""The deny table, on both sides of each boundary; spellings of addresses; what a registered URL may be."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fanfold.core.config import FanOutSettings
from fanfold.fanout.errors import FanOutError, ForbiddenAddress, InvalidAddress
from fanfold.fanout.guard import AddressGuard, literal_address

PUBLIC = AddressGuard()

# (last allowed before, first denied, last denied, first allowed after); None where there is no public neighbour.
IPV4_RANGES = [
    (None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"),
    ("192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "255.255.255.255", None),
]
IPV6_RANGES = [
    (None, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    (
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001::",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:200::",
    ),
    (
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
    ),
    (
        "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2003::",
    ),
    (
        "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:8000::",
        "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:8001::",
    ),
    (
        "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3ffe::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",
    ),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
]
METADATA = [
    "169.254.169.254",
    "192.0.0.192",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
]
EMBEDDED = [
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:0:127.0.0.1",  # translated (SIIT)
    "::127.0.0.1",  # IPv4-compatible
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",  # NAT64 of a local network
    "2002:7f00:1::",  # 6to4
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo
    "2606:4700::5efe:127.0.0.1",  # ISATAP
    "2606:4700::200:5efe:10.0.0.1",
]
OTHERS = ["fec0::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "100::1", "5f00::1", "::", "::1"]


class TestAllows:
    @pytest.mark.parametrize(("before", "first", "last", "after"), IPV4_RANGES + IPV6_RANGES)
    def test_denied_ranges_begin_and_end_where_they_should(self, before, first, last, after):
        assert not PUBLIC.allows(first)
        assert not PUBLIC.allows(last)
        assert all(PUBLIC.allows(neighbour) for neighbour in (before, after) if neighbour)

    @pytest.mark.parametrize("address", METADATA + EMBEDDED + OTHERS)
    def test_metadata_embedded_and_local_addresses_are_denied(self, address):
        assert not PUBLIC.allows(address)

    @pytest.mark.parametrize(
        "address",
        ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"],
    )
    def test_public_addresses_pass_also_behind_nat64(self, address):
        assert PUBLIC.allows(address)

    @pytest.mark.parametrize(
        "nonsense", ["", "localhost", "127.1", "0x7f000001", "1.1.1.1 ", "[::1]", "1.1.1.1:80"]
    )
    def test_what_is_not_a_numeric_address_is_denied(self, nonsense):
        assert not AddressGuard([ip_network("0.0.0.0/0"), ip_network("::/0")]).allows(nonsense)

    @given(st.ip_addresses(v=4))
    def test_a_mapped_address_is_judged_as_the_one_it_is(self, address: IPv4Address):
        for prefix in (0xFFFF << 32, 0x64FF9B << 96):
            assert PUBLIC.allows(IPv6Address(prefix + int(address))) == PUBLIC.allows(address)

    @given(st.ip_addresses())
    def test_what_the_standard_library_calls_local_is_denied_too(self, address: IPv4Address | IPv6Address):
        if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
            assert not PUBLIC.allows(address)


class TestAllowedNetworks:
    guard = AddressGuard([ip_network("127.0.0.0/8"), ip_network("fd00:1::/32")])

    @pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "fd00:1::5", "8.8.8.8"])
    def test_they_pass_and_public_ones_still_do(self, address):
        assert self.guard.allows(address)

    @pytest.mark.parametrize("address", ["10.0.0.1", "::1", "fd00:2::5", "::127.0.0.1"])
    def test_their_neighbours_do_not(self, address):
        assert not self.guard.allows(address)

    def test_a_network_of_embedded_addresses_can_be_allowed_as_it_is(self):
        guard = AddressGuard([ip_network("64:ff9b::/96")])
        assert guard.allows("64:ff9b::10.0.0.1")
        assert not guard.allows("10.0.0.1")

    def test_without_tls_only_they_pass(self):
        assert self.guard.allows("127.0.0.1", plain=True)
        assert not self.guard.allows("8.8.8.8", plain=True)
        assert not PUBLIC.allows("8.8.8.8", plain=True)


class TestLiteralAddress:
    @pytest.mark.parametrize(
        "spelling",
        [
            "127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0X7F000001", "2130706433", "017700000001", "0177.0.0.01",
            "0x7f.1", "127.0.0.1.", "127.0.0.1..", "%31%32%37.0.0.1", "１２７.0.0.1", "127。0。0。1", "127．0．0．1",
            "⑫7.0.0.1", "0x7f.0x0.0x0.0x1",
        ],
    )  # fmt: skip
    def test_every_spelling_of_ipv4_is_read(self, spelling):
        assert literal_address(spelling) == IPv4Address("127.0.0.1")

    @pytest.mark.parametrize("spelling", ["::1", "[::1]", "::1%lo", "::1%25lo", "0:0:0:0:0:0:0:1", "::0001"])
    def test_every_spelling_of_ipv6_is_read(self, spelling):
        assert literal_address(spelling) == IPv6Address("::1")

    @pytest.mark.parametrize(
        "name", ["example.com", "a.b.", "1.com", "127.0.0.1.nip.io", "xn--fiq228c.cn", "例え.jp", "e", ""]
    )
    def test_names_are_no_addresses(self, name):
        assert literal_address(name) is None

    @pytest.mark.parametrize(
        "odd",
        [
            "256.0.0.1",
            "1.2.3.4.5",
            "127.0.0.08",
            "0x1ffffffff",
            "a.b.1",
            "1..1",
            ":::1",
            "g::1",
            "9" * 40 + ".1",
        ],
    )
    def test_what_looks_like_an_address_and_is_none_is_refused(self, odd):
        with pytest.raises(InvalidAddress):
            literal_address(odd)

    @given(st.ip_addresses())
    def test_what_is_written_plainly_is_read_as_it_is(self, address):
        assert literal_address(str(address)) == ip_address(str(address))


class TestCheckUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://api.example.com/v1",
            "https://api.example.com:8443/v1?key=a%20b",
            "HTTPS://API.EXAMPLE.COM",
            "https://例え.テスト/路径",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]:443/",
            "https://localhost.example.com/",
        ],
    )
    def test_public_https_passes(self, url):
        PUBLIC.check_url(url)

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:7f00:1]", "%31%32%37.1", "169.254.169.254"],
    )
    def test_a_forbidden_literal_is_refused_at_once(self, host):
        with pytest.raises(ForbiddenAddress, match="FANFOLD_UPSTREAM_ALLOWED_NETWORKS"):
            PUBLIC.check_url(f"https://{host}/")

    @pytest.mark.parametrize(
        "url",
        [
            "", "api.example.com", "//x.com", "ftp://x.com/", "javascript:alert(1)", "https://", "https:///p",
            "https://x.com:0/", "https://x.com:65536/", "https://x.com:a/", "https://[::1", "https://a@x.com/",
            "https://a:b@x.com/", "https://x.com/#part", "https://x .com/", "https://x.com/\r\nHost: y", "https://x.com\\@y.com/",
            "https://\x00.com/", "https://" + "a" * 64 + ".com/", "https://a..com/", "https://./", "https://\ud800.com/",
            "https://" + "a." * 130 + "com/", "https://[v1.x]/", "https://[api.example.com]/",
        ],
    )  # fmt: skip
    def test_what_is_no_usable_url_is_refused_without_echoing_it(self, url):
        with pytest.raises(InvalidAddress) as refused:
            PUBLIC.check_url(url)
        assert len(url) < 10 or url not in str(refused.value)

    @pytest.mark.parametrize("url", ["http://example.com/", "http://1.1.1.1/"])
    def test_plain_http_is_refused_where_no_network_is_allowed(self, url):
        with pytest.raises(InvalidAddress, match="https://"):
            PUBLIC.check_url(url)

    def test_plain_http_is_for_the_allowed_networks_and_for_names_judged_later(self):
        guard = AddressGuard([ip_network("10.0.0.0/8")])
        guard.check_url("http://10.1.2.3:8000/")
        guard.check_url("http://models.internal/")
        with pytest.raises(InvalidAddress):
            guard.check_url("http://1.1.1.1/")

    def test_its_errors_are_the_engines_and_also_value_errors(self):
        assert issubclass(ForbiddenAddress, FanOutError)
        assert issubclass(ForbiddenAddress, ValueError)


class TestPorts:
    @pytest.mark.parametrize("port", [443, 1024, 8443, 65535])
    def test_https_and_unprivileged_ports_may_be_dialled(self, port):
        assert PUBLIC.allows("1.1.1.1", port=port)
        PUBLIC.check_url(f"https://api.example.com:{port}/")

    @pytest.mark.parametrize("port", [22, 25, 80, 110, 442, 444, 445, 1023])
    def test_others_only_within_the_allowed_networks(self, port):
        guard = AddressGuard([ip_network("10.0.0.0/8")])
        assert not PUBLIC.allows("1.1.1.1", port=port)
        assert not guard.allows("1.1.1.1", port=port)
        assert guard.allows("10.1.1.1", port=port)
        for url in (f"https://api.example.com:{port}/", f"https://1.1.1.1:{port}/"):
            with pytest.raises(InvalidAddress, match="FANFOLD_UPSTREAM_PORTS"):
                PUBLIC.check_url(url)
        with pytest.raises(InvalidAddress, match="FANFOLD_UPSTREAM_PORTS"):
            guard.check_url(f"https://1.1.1.1:{port}/")
        guard.check_url(f"https://10.1.1.1:{port}/")
        guard.check_url(f"https://models.internal:{port}/")  # judged when dialled

    def test_the_operator_says_which(self):
        guard = AddressGuard(ports=FanOutSettings(upstream_ports="443, 8000-8002").ports)
        assert [
            port for port in (443, 444, 7999, 8000, 8002, 8003) if guard.allows("1.1.1.1", port=port)
        ] == [
            443,
            8000,
            8002,
        ]

    @pytest.mark.parametrize(
        "wrong", ["", "443,", "0", "65536", "9-1", "1-65536", "https", "-1", "443;80", "1-2-3", "44٣"]
    )
    def test_what_are_no_ports_is_refused_at_the_start(self, wrong):
        with pytest.raises(ValidationError):
            FanOutSettings(upstream_ports=wrong)
