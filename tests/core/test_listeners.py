"""The danger of a closed door: those who stood in it are thrown out, though they had been let in."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from fanfold.core.listeners import quiet, waiting


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener


async def accept_all(listener: socket.socket, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        await asyncio.sleep(0.01)
        accepted, _ = listener.accept()
        with accepted:
            found.append(accepted.recv(100))
    return found


async def test_who_had_connected_is_waited_for_and_nobody_new_comes_in(listener: socket.socket):
    address, loop = listener.getsockname(), asyncio.get_running_loop()
    with ExitStack() as stack, socket.socket() as late:
        early = [stack.enter_context(socket.create_connection(address)) for _ in range(30)]
        for each in early:
            each.sendall("请求".encode())
        assert waiting(listener) == 30
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            closing = group.create_task(quiet([listener.fileno()]))
            await asyncio.sleep(0.5)
            assert not closing.done()
            late.setblocking(False)
            connecting = asyncio.create_task(loop.sock_connect(late, address))
            accepted = group.create_task(accept_all(listener, 30))
        assert accepted.result() == ["请求".encode()] * 30
        assert waiting(listener) == 0
        listener.close()
        # It is told that nobody listens: it may try again, knowing that nothing of it was read.
        with pytest.raises(ConnectionRefusedError):
            async with asyncio.timeout(30):
                await connecting


async def test_it_does_not_wait_for_ever(listener: socket.socket):
    with socket.create_connection(listener.getsockname()):
        async with asyncio.timeout(20):
            await quiet([listener.fileno()])
        assert waiting(listener) == 1


async def test_a_system_that_refuses_the_filter_or_does_not_tell_stops_no_stop(listener: socket.socket):
    so_lock_filter = 44  # asm-generic/socket.h; from then on a filter is EPERM
    listener.setsockopt(socket.SOL_SOCKET, so_lock_filter, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as mute:
        await quiet([listener.fileno(), mute.fileno()])
        assert waiting(mute) == 0
    with socket.create_connection(listener.getsockname()):
        assert waiting(listener) == 1
