"""How names become addresses, for every transport: on threads of its own, so that slow names hold up nobody else."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol


class Resolver(Protocol):
    """Finds the addresses of a name. The guard judges what it returns, so it need not be trusted."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return numeric addresses; raises OSError where there are none."""
        ...

    def close(self) -> None:
        """Give back what the resolver holds."""
        ...


class SystemResolver:
    """The operating system's look-up (getaddrinfo), at most `threads` at once."""

    def __init__(self, *, threads: int = 8) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fanfold-names")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the numeric addresses of `host`, in the system's order of preference."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, _look_up, host, port)
        return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

    def close(self) -> None:
        """Forget look-ups that have not begun; those that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[tuple[object, object, object, str, tuple[object, ...]]]:
    # AI_ADDRCONFIG leaves out IPv6 where the machine has none.
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
