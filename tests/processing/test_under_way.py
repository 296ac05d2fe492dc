"""How a request is left whose bill cannot be written in time, or that is cut off while it is written."""

import asyncio
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from fanfold.core.background import Background
from fanfold.core.errors import NotReady
from fanfold.fanout.run import Run
from fanfold.processing.under_way import UnderWay


class Books:
    """What settles: the first time it is late, or waits until it is cut off; then it is there."""

    def __init__(self, *, is_late: bool = False) -> None:
        self.counted, self.begun, self.settled = 0, 0, 0
        self._is_late = is_late

    def count(self, _answer: Any) -> None:
        self.counted += 1

    async def bill(self, *_: Any, **__: Any) -> Any:
        self.begun += 1
        if self.begun == 1 and self._is_late:
            raise TimeoutError
        if self.begun == 1:
            await asyncio.Event().wait()
        self.settled += 1
        return SimpleNamespace()


async def _late(*_: Any, **__: Any) -> NoReturn:
    raise NotReady("The ledger does not answer.")


LATE: Any = SimpleNamespace(bill=_late)


def _books(*, is_late: bool = False) -> Any:
    return Books(is_late=is_late)


def _admission(keyed: Any = None) -> Any:
    request = SimpleNamespace(deadline_s=1.0, min_success=0, on_error=None)
    return SimpleNamespace(plan=SimpleNamespace(request=request, calls=()), keyed=keyed)


@pytest.mark.parametrize(
    ("raised", "told"), [(asyncio.CancelledError, asyncio.CancelledError), (KeyError, NotReady)]
)
async def test_who_has_left_is_not_told_of_the_bill(raised: type[BaseException], told: type[BaseException]):
    async with Background() as background:
        with pytest.raises(told):
            async with UnderWay(_admission(), LATE, background):
                raise raised


async def test_a_bill_that_is_cut_off_is_written_before_the_request_ends_and_counted_once():
    books, admission = _books(), _admission()

    async def request() -> None:
        async with UnderWay(admission, books, background) as under_way:
            under_way.opened = Run(admission.plan, told=False)
            await under_way.end()

    async with Background() as background:
        running = asyncio.create_task(request())
        while not books.begun:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (books.counted, books.begun, books.settled) == (1, 2, 1)


async def test_a_bill_that_comes_too_late_is_a_503_and_written_all_the_same():
    books, admission = _books(is_late=True), _admission()

    async def request() -> None:
        async with UnderWay(admission, books, background) as under_way:
            under_way.opened = Run(admission.plan, told=False)
            await under_way.end()

    async with Background() as background:
        with pytest.raises(NotReady):
            await request()
    assert (books.counted, books.settled) == (1, 1)


async def test_what_stores_an_answer_on_the_way_is_not_begun_twice():
    books, admission = _books(), _admission(keyed=object())

    async def request() -> None:
        async with UnderWay(admission, books, background) as under_way:
            under_way.opened = Run(admission.plan, told=False)
            await under_way.end()

    background = Background(grace_s=0.1)
    async with background:
        running = asyncio.create_task(request())
        while not books.begun:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=0.05)
        assert books.begun == 1
        running.cancel()
    await asyncio.wait([running])
