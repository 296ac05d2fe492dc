import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from fanfold.core.errors import Overloaded
from fanfold.core.offload import SWITCH_S, Offload, prompt_switches

SAFETY_S = 20


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def wait_for(gate: threading.Event, value: str = "") -> str:
    gate.wait(SAFETY_S)
    return value


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SAFETY_S):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_call_returns_what_its_function_returns() -> None:
    offload = Offload(threads=1, queue=1)
    assert await offload.run(str.upper, "größe 汉字 👩‍👩‍👧") == "GRÖSSE 汉字 👩‍👩‍👧"
    offload.close()


async def test_an_exception_reaches_the_caller() -> None:
    offload = Offload(threads=1, queue=1)
    with pytest.raises(ValueError, match="invalid literal"):
        await offload.run(int, "x")
    assert (offload.running, offload.waiting) == (0, 0)
    offload.close()


async def test_stop_iteration_does_not_hang_the_caller() -> None:
    offload = Offload(threads=1, queue=1)
    async with asyncio.timeout(SAFETY_S):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await offload.run(next, iter(()))
    offload.close()


async def test_the_function_sees_the_callers_context_variables() -> None:
    request = contextvars.ContextVar("request", default="none")
    request.set("r-1")
    offload = Offload(threads=1, queue=1)
    assert await offload.run(request.get) == "r-1"
    offload.close()


async def test_one_call_more_than_threads_and_queue_is_refused_with_retry_after(
    gate: threading.Event,
) -> None:
    offload = Offload(threads=2, queue=3)
    async with asyncio.TaskGroup() as group:
        admitted = [group.create_task(offload.run(wait_for, gate, str(n))) for n in range(5)]
        await until(lambda: offload.running == 2)
        assert offload.waiting == 3
        with pytest.raises(Overloaded) as refused:
            await offload.run(str)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        gate.set()
    assert [task.result() for task in admitted] == ["0", "1", "2", "3", "4"]
    assert (offload.running, offload.waiting) == (0, 0)
    offload.close()


async def test_a_waiting_caller_that_is_cancelled_frees_its_place_and_its_work_never_begins(
    gate: threading.Event,
) -> None:
    offload = Offload(threads=1, queue=1)
    begun: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(offload.run(wait_for, gate))
        await until(lambda: offload.running == 1)
        for n in range(50):
            gone = group.create_task(offload.run(begun.append, f"gone {n}"))
            await until(lambda: offload.waiting == 1)
            gone.cancel()
            await asyncio.wait([gone])
            assert offload.waiting == 0
        kept = group.create_task(offload.run(begun.append, "kept"))
        await until(lambda: offload.waiting == 1)
        gate.set()
        await kept
    assert begun == ["kept"]
    offload.close()


async def test_a_cancelled_callers_arguments_are_let_go_at_once(gate: threading.Event) -> None:
    class Text(str):
        __slots__ = ("__weakref__",)

    offload = Offload(threads=1, queue=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(offload.run(wait_for, gate))
        await until(lambda: offload.running == 1)
        text = Text("a long text")
        held = weakref.ref(text)
        gone = group.create_task(offload.run(len, text))
        await until(lambda: offload.waiting == 1)
        gone.cancel()
        await asyncio.wait([gone])
        del text, gone
        gc.collect()
        assert held() is None
        gate.set()
    offload.close()


async def test_work_that_has_begun_keeps_its_thread_when_its_caller_goes(gate: threading.Event) -> None:
    offload = Offload(threads=1, queue=1)
    task = asyncio.create_task(offload.run(wait_for, gate))
    await until(lambda: offload.running == 1)
    task.cancel()
    await asyncio.wait([task])
    assert offload.running == 1
    gate.set()
    await until(lambda: offload.running == 0)
    offload.close()


async def test_cancelling_at_any_moment_loses_no_place() -> None:
    offload = Offload(threads=2, queue=64)
    for turns in range(30):
        tasks = [asyncio.create_task(offload.run(sum, range(2000))) for _ in range(20)]
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks, timeout=SAFETY_S)
        assert all(task.result() == sum(range(2000)) for task in tasks[1::2])
    await until(lambda: (offload.running, offload.waiting) == (0, 0))
    offload.close()


async def test_close_refuses_those_that_wait_and_those_that_come(gate: threading.Event) -> None:
    offload = Offload(threads=1, queue=2)
    running = asyncio.create_task(offload.run(wait_for, gate, "ended"))
    await until(lambda: offload.running == 1)
    waiting = asyncio.create_task(offload.run(str))
    await until(lambda: offload.waiting == 1)
    offload.close()
    async with asyncio.timeout(SAFETY_S):
        with pytest.raises(Overloaded):
            await waiting
        with pytest.raises(Overloaded):
            await offload.run(str)
        gate.set()
        assert await running == "ended"


def test_threads_hand_the_interpreter_over_promptly_and_afterwards_as_before() -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.003)
        with prompt_switches():
            assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert sys.getswitchinterval() == pytest.approx(0.003)
    finally:
        sys.setswitchinterval(before)
