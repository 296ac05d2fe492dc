"""Walks for cycles: none of all objects while a thousand streams open, none over what was there before."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from fanfold.core.garbage import seldom_collected, uncollected

OF_A_THOUSAND_STREAMS = 400_000


@contextmanager
def _walks_of_all() -> Iterator[list[int]]:
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            seen.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)


def _open_many() -> list[list[int]]:
    return [[] for _ in range(OF_A_THOUSAND_STREAMS)]


def test_no_walk_of_all_while_many_streams_open() -> None:
    gc.collect()
    with seldom_collected(), _walks_of_all() as seen:
        streams = _open_many()
    assert len(streams) == OF_A_THOUSAND_STREAMS
    assert seen == []


def test_what_was_there_before_is_in_no_walk() -> None:
    before: list[object] = []
    with seldom_collected():
        assert gc.get_freeze_count() > 0
        assert not any(each is before for each in gc.get_objects())
    assert any(each is before for each in gc.get_objects())


def test_cycles_are_still_found() -> None:
    with seldom_collected():
        for _ in range(2_000):
            cycle: list[object] = []
            cycle.append(cycle)
        assert gc.get_stats()[0]["collected"] > 0
        assert len(gc.get_objects()) < 2_000


def test_all_is_as_before_afterwards() -> None:
    threshold = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold() != threshold
    assert gc.get_threshold() == threshold
    assert gc.get_freeze_count() == 0


def test_imports_are_not_walked_and_what_was_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with uncollected():
        monkeypatch.setitem(sys.modules, "brought", ModuleType("brought"))
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
        imported: list[object] = []
    assert gc.isenabled()
    assert not any(each is imported for each in gc.get_objects())


def test_nothing_is_kept_out_of_walks_where_nothing_was_imported() -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        pass
    assert gc.get_freeze_count() == frozen
