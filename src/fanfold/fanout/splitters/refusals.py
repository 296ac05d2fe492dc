"""What a text may become at most, whether it is cut whole or while it comes."""

from fanfold.fanout.errors import TooManyChunks

# Overlap repeats text: beyond eight times the text, and a million code points, memory would go to repetition.
_MAX_REPEATED = 8
_FREE_CODE_POINTS = 1_000_000


def refuse_too_many(count: int, most: int) -> None:
    """Raise `TooManyChunks` for more than `most`."""
    if count > most:
        raise TooManyChunks(f"The text gives more than {most} chunks; use a larger size or a shorter text.")


def refuse_repetition(repeated: int, characters: int) -> None:
    """Raise `TooManyChunks` where chunks hold together too many times the code points of their text."""
    if repeated > max(_MAX_REPEATED * characters, _FREE_CODE_POINTS):
        raise TooManyChunks("The chunks repeat too much of the text; use less overlap.")
