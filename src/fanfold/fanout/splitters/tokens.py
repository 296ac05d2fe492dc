"""Splits by tokens of `o200k_base`."""

from fanfold.fanout.splitters import o200k
from fanfold.fanout.splitters.packing import pack
from fanfold.fanout.splitters.token_units import TokenUnits
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split

_CONTRACTION = 3  # code points behind a word that may be of one piece with it

load = o200k.load
count = o200k.count


def tokens(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of at most `split.size` tokens; cuts within a word only where the word alone has more."""
    return pack(token_units(text, split), split.size, split.overlap)


def token_units(text: str, split: Split) -> Units:
    """Return units of one token or more. They are made in batches, so they can be made anew from where one begins."""
    units = TokenUnits(text, split.size, is_fine=split.overlap > 0)
    # What ends with the text may go on in another.
    whole = [end for end in units.batches if end < len(text) - _CONTRACTION]
    settled = whole[-1] if whole else 0
    return Units(units.bounds, units.measure, units.breaks, anchors=whole, settled=settled)
