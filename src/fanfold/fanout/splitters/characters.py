"""Splits by characters, as people count them: graphemes."""

from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.splitters.packing import pack_equal
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split


def characters(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of `split.size` graphemes each; the last may be shorter."""
    return pack_equal(boundaries(text), split.size, split.overlap)


def character_units(text: str, _split: Split) -> Units:
    """Return the graphemes of the text, one each."""
    bounds = boundaries(text)
    return Units(bounds, range(len(bounds)))
