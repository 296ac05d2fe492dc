"""Addresses that upstreams may not have, each in every spelling, and what counts whoever gets through to one."""

import asyncio
import sys
from ipaddress import IPv4Address
from typing import Any, Self

# One of each sort: this host, loopback, private, carrier-grade NAT and the metadata of Alibaba, link-local and the
# metadata of most clouds, of ECS tasks, of Oracle, of Azure, benchmarks, multicast, reserved, broadcast.
IPV4 = (
    "0.0.0.0", "127.0.0.2", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.100.100.200", "169.254.169.254",
    "169.254.170.2", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
IPV6 = (
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "ff02::1", "100::1", "5f00::1",
    "2001:db8::1", "3fff::1", "64:ff9b:1::7f00:2", "2001:0:4136:e378:8000:63bf:80ff:fffd", "2606:4700::5efe:127.0.0.2",
    "2606:4700::200:5efe:10.0.0.1",
)  # fmt: skip
_SPELLED = ("127.0.0.2", "169.254.169.254", "10.0.0.1", "100.100.100.200", "0.0.0.0")
NAMES = (
    "localhost",
    "localhost.",
    "LOCALHOST",
    "ip6-localhost",
    "metadata.google.internal",
    "l%6fcalhost",
    "ｌｏｃａｌｈｏｓｔ",
)


def embedded(address: str) -> list[str]:
    """IPv6 addresses in which an IPv4 address hides: mapped, translated, compatible, NAT64, 6to4."""
    value = int(IPv4Address(address))
    high, low = value >> 16, value & 0xFFFF
    return [
        f"::ffff:{address}", f"::ffff:{high:x}:{low:x}", f"0:0:0:0:0:ffff:{high:x}:{low:x}", f"::ffff:0:{address}",
        f"::{address}", f"64:ff9b::{address}", f"64:ff9b::{high:x}:{low:x}", f"2002:{high:x}:{low:x}::1",
    ]  # fmt: skip


def numeric() -> list[str]:
    """Every address as a socket address holds it: what a name's look-up may answer."""
    return [*IPV4, *IPV6, *(each for address in _SPELLED for each in embedded(address)), "fe80::1%lo"]


def literals() -> list[str]:
    """Every address as a URL's host, in every spelling that some client reads."""
    found = [*IPV4, *(spelling for address in _SPELLED for spelling in _spellings(IPv4Address(address)))]
    found += [f"[{each}]" for each in numeric() if ":" in each and "%" not in each]
    return list(
        dict.fromkeys([*found, "[::1%25lo]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[0000::1]", "[FE80::1]"])
    )


def _spellings(address: IPv4Address) -> list[str]:
    value, (a, b, c, d) = int(address), address.packed
    plain = str(address)
    full_width = str.maketrans("0123456789", "０１２３４５６７８９")
    return [
        plain, f"{plain}.", f"{plain}..", plain.translate(full_width), plain.replace(".", "。"),
        plain.replace(".", "．"),
        "".join(f"%{ord(letter):02x}" for letter in plain), plain.replace(".", "%2e"),
        str(value), f"0x{value:x}", f"0X{value:X}", f"0x{value:016x}", f"0{value:o}",
        f"{a}.{value & 0xFFFFFF}", f"{a}.{b}.{value & 0xFFFF}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0{a:o}.{b}.0x{c:x}.{d}",
    ]  # fmt: skip


class Listeners:
    """Listens on every address of this machine, and counts who connects; dials elsewhere are counted as they begin.

    The interpreter's audit events tell of each `connect` (PEP 578), whoever makes it.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.dials: list[str] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._count, None, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        _ports[self.port] = self
        return self

    async def __aexit__(self, *_error: object) -> None:
        del _ports[self.port]
        self._server.close()

    async def _count(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


_ports: dict[int, Listeners] = {}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _ports and isinstance(arguments[1], tuple):
        host, port = arguments[1][:2]
        if port in _ports:
            _ports[port].dials.append(str(host))


sys.addaudithook(_audit)
