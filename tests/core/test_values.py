from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fanfold.core.values import value


@value
class Point:
    x: int
    names: tuple[str, ...] = field(default=(), compare=False)


@value(kw_only=True)
class Named:
    name: str = "字"


def test_a_value_is_equal_and_hashed_by_its_fields_and_has_no_others():
    assert Point(1, ("a",)) == Point(1) != Point(2)
    assert {Point(1), Point(1)} == {Point(1)}
    assert replace(Point(1), x=3) == Point(3)
    assert not hasattr(Point(1), "__dict__")
    assert Named(name="字") == Named()


@value
class Empty: ...


@value
class Inner(Point):
    secret: str = field(default="s", repr=False)
    around: list[object] = field(default_factory=list, compare=False)


@value
class Said:
    x: int

    def __repr__(self) -> str:
        return "said"


def _written() -> Any:
    class Written:
        x: int
        names: tuple[str, ...] = field(default=(), compare=False)
        secret: str = field(default="s", repr=False)

    return Written


def test_a_value_is_compared_and_shown_as_a_frozen_dataclass_is():
    ours, python = value(_written()), dataclass(frozen=True, slots=True)(_written())
    given = [(1,), (1, ("a",)), (1, ("a",), "t"), (2,)]
    for one in given:
        assert repr(ours(*one)) == repr(python(*one))
        for other in given:
            assert (ours(*one) == ours(*other)) == (python(*one) == python(*other))
            assert (hash(ours(*one)) == hash(ours(*other))) == (hash(python(*one)) == hash(python(*other)))
    assert ours.__match_args__ == python.__match_args__
    assert ours(1) != python(1)


def test_a_value_of_no_fields_of_more_and_of_its_own_words():
    assert Empty() == Empty()
    assert {Empty(), Empty()} == {Empty()}
    assert Inner(1, secret="a") != Inner(1, secret="b")
    assert Point(1) not in [Inner(1), Empty()]
    assert repr(Said(1)) == "said"


def test_a_value_within_itself_is_shown():
    inner = Inner(1)
    inner.around.append(inner)
    assert repr(inner) == "Inner(x=1, names=(), around=[...])"


def test_values_of_no_hash_have_none():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Said([]))  # type: ignore[arg-type]
