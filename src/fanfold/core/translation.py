"""The errors of one layer, as another tells them."""

from collections.abc import Callable
from types import TracebackType


class translated:  # noqa: N801 (used as a function; a generator as a context costs each request three times as much)
    """Raise what `told` makes of an error of the body; where it makes nothing of it, the error goes on.

    It keeps nothing of a body: one serves all.
    """

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[BaseException], Exception | None]) -> None:
        self._told = told

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and (told := self._told(error)) is not None:
            raise told from None
