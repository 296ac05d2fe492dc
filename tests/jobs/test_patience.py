"""A moment without database is waited for; one that lasts, and what no waiting mends, is told."""

import pytest

from fanfold.core.crypto import SealBroken
from fanfold.core.errors import NotReady
from fanfold.jobs.patience import patiently


class _Away:
    def __init__(self, times: int, error: Exception) -> None:
        self.asked, self._times, self._error = 0, times, error

    async def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return "好"


async def test_who_comes_back_is_asked_again():
    away = _Away(2, NotReady("away"))
    assert await patiently(away) == "好"
    assert away.asked == 3


async def test_patience_ends():
    with pytest.raises(NotReady):
        await patiently(_Away(1_000, NotReady("away")), patience_s=0.3)


async def test_a_broken_seal_is_told_at_once():
    away = _Away(1, SealBroken("another key ring"))
    with pytest.raises(SealBroken):
        await patiently(away)
    assert away.asked == 1
