"""Work in the background. The dangers: a fault that ends it for good, a round that never ends, a rest left behind."""

import asyncio
import logging

import pytest

from fanfold.core.chores import Chore


class Heap(Chore):
    """Takes away at most three of a heap at a time; fails as often as it is told to."""

    refused = "The heap stays."

    def __init__(self, heap: int, *, failing: int = 0, every_s: float = 0.0) -> None:
        super().__init__(every_s=every_s, full=3)
        self.heap, self.failing, self.pieces = heap, failing, 0

    async def piece(self) -> int:
        self.pieces += 1
        if self.failing:
            self.failing -= 1
            raise ConnectionError("postgresql://somebody:secret@example")
        some = min(self.heap, 3)
        self.heap -= some
        return some


@pytest.mark.parametrize(("heap", "pieces"), [(0, 1), (2, 1), (3, 2), (7, 3)])
async def test_a_round_ends_with_a_piece_that_is_not_full(heap: int, pieces: int):
    chore = Heap(heap)
    assert (await chore.work(), chore.done, chore.heap, chore.pieces) == (heap, heap, 0, pieces)


async def test_a_round_that_fails_is_counted_and_told_without_its_secrets(caplog: pytest.LogCaptureFixture):
    chore = Heap(1, failing=1)
    with caplog.at_level(logging.WARNING):
        await chore.round()
        await chore.round()
    assert (chore.failures, chore.done) == (1, 1)
    (told,) = caplog.records
    assert (told.name, told.getMessage(), told.__dict__["error"]) == (
        __name__,
        chore.refused,
        "ConnectionError",
    )
    assert "secret" not in caplog.text


async def test_it_goes_on_after_a_failure_until_it_is_cancelled():
    chore = Heap(7, failing=2)
    running = asyncio.create_task(chore.run())
    async with asyncio.timeout(10):
        while chore.pieces < 6:
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (chore.failures, chore.done, chore.heap) == (2, 7, 0)


async def test_it_rests_between_rounds():
    chore = Heap(1, every_s=3600)
    running = asyncio.create_task(chore.run())
    for _ in range(100):
        await asyncio.sleep(0)
    running.cancel()
    assert chore.pieces == 1
