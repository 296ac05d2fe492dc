"""Splits by characters, as people count them: graphemes."""

from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.splitters.packing import pack_equal
from fanfold.fanout.types import Split


def characters(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of `split.size` graphemes each; the last may be shorter."""
    return pack_equal(boundaries(text), split.size, split.overlap)
