"""Splits by tokens of `o200k_base`."""

from fanfold.fanout.splitters import o200k
from fanfold.fanout.splitters.packing import pack
from fanfold.fanout.splitters.token_units import TokenUnits
from fanfold.fanout.types import Split

load = o200k.load
count = o200k.count


def tokens(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of at most `split.size` tokens; cuts within a word only where the word alone has more."""
    units = TokenUnits(text, split.size, is_fine=split.overlap > 0)
    return pack(units.bounds, units.measure, split.size, split.overlap, breaks=units.breaks)
