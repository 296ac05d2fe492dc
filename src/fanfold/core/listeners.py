"""Closing a listening socket without resetting those who have just connected."""

import asyncio
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

AT_LEAST_S = 0.1  # for handshakes that are under way
AT_MOST_S = 2.0
_POLL_S = 0.02

# linux/filter.h: load the byte of the TCP flags, keep SYN; where it is set drop the packet, else take all of it.
_SO_ATTACH_FILTER = 26
_DROP_SYN = (
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x02),
    (0x15, 0, 1, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
    (0x06, 0, 0, 0),
)
# linux/tcp.h: of a listening socket, tcpi_unacked is the length of its queue.
_TCP_INFO_UNACKED = slice(24, 28)


async def quiet(descriptors: Iterable[int]) -> None:
    """Let nobody new connect, and wait until all who had connected are accepted; at most two seconds.

    Where the system has no such filter, or refuses it, it only waits a moment. No other process may share the sockets.
    """
    listeners = [socket.socket(fileno=os.dup(each)) for each in descriptors]
    try:
        for listener in listeners:
            _drop_handshakes(listener)
        end = asyncio.get_running_loop().time() + AT_MOST_S
        await asyncio.sleep(AT_LEAST_S)
        while any(map(waiting, listeners)) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 (the kernel's)
            await asyncio.sleep(_POLL_S)
    finally:
        for listener in listeners:
            listener.close()


def _drop_handshakes(listener: socket.socket) -> None:
    if not _is_tcp_on_linux(listener):
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    described = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    with suppress(OSError):  # a sandbox may refuse it; the stop goes on without
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def waiting(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, 0 where the system does not tell."""
    if not _is_tcp_on_linux(listener):
        return 0
    try:
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED.stop)
    except OSError:
        return 0
    return int.from_bytes(told[_TCP_INFO_UNACKED], sys.byteorder)


def _is_tcp_on_linux(listener: socket.socket) -> bool:
    return sys.platform == "linux" and listener.family in {socket.AF_INET, socket.AF_INET6}
