"""What one call tells while its answer is being written."""

from collections.abc import Callable

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.types import ErrorCode

Tell = Callable[[str], None]


class Telling:
    """Hands a call's text on, at most `max_bytes` of UTF-8: as much as an answer that is not streamed may be.

    Once it has told something the call cannot be made again, nor go to another upstream: its reader would have the
    beginnings of two answers.
    """

    def __init__(self, tell: Tell, *, max_bytes: int) -> None:
        self._tell = tell
        self._max = self._left = max_bytes

    @property
    def has_told(self) -> bool:
        """Whether the reader may have had a word of it."""
        return self._left < self._max

    def __call__(self, text: str) -> None:
        """Tell the next words, if there are any. Raises `CallFailed` with `too-large`."""
        if not text:
            return
        size = len(text.encode())
        if size > self._left:
            detail = f"The upstream's answer is over {self._max} bytes; ask it for less at once."
            raise CallFailed(ErrorCode.TOO_LARGE, detail, phase=Phase.ANSWERED)
        self._left -= size
        self._tell(text)
