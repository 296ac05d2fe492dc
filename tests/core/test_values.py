from dataclasses import field, replace

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
