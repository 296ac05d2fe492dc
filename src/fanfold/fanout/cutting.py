"""A text that is here as a whole becomes chunks, no more of them than may be."""

from fanfold.fanout.kinds import Kinds
from fanfold.fanout.splitters.refusals import refuse_repetition, refuse_too_many
from fanfold.fanout.types import Chunk, Split

# So many times the allowed chunks' own size: the prefix in which a text of ordinary letters shows too many chunks.
_PROBE = 16


def cut(text: str, split: Split, kinds: Kinds, *, most: int) -> tuple[Chunk, ...]:
    """Return the chunks of a text. Raises `TooManyChunks`, also where overlap repeats too much, and `UnknownKind`."""
    splitter = kinds.splitter(split.by)
    probe = _PROBE * (most + 1) * (split.size - split.overlap) + split.size
    if len(text) > probe:
        # Spares memory for millions of spans. Half the count, since a prefix may be cut otherwise near its end.
        refuse_too_many(len(splitter(text[:probe], split)) // 2, most)
    spans = splitter(text, split)
    refuse_too_many(len(spans), most)
    if split.overlap:
        refuse_repetition(sum(end - start for start, end in spans), len(text))
    return tuple([Chunk(index, start, end, text[start:end]) for index, (start, end) in enumerate(spans)])
