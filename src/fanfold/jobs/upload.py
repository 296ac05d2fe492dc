"""A body that is read as it comes, however long: bounded in bytes and in time, and never here as a whole."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from fanfold.core.errors import MalformedRequest, TooLarge

# Less than the time after which input that has become no job is purged.
LONGEST_S = 5_400.0
# A client that sends less than this in a second, over the time that any may take, holds us up.
_SLOWEST_BYTES_S = 16 * 1024
_LENGTH_DIGITS = 20


class Upload:
    """The pieces of a request's body. Iterated once; who iterates slowly lets the client wait.

    `patience_s` is how long nothing may come, and how much time there is beside what 16 KiB/s take; `longest_s` is for
    all of it. Raises 413 over `max_bytes`, and 400 where the client stalls or leaves.
    """

    def __init__(
        self, request: Request, *, max_bytes: int, patience_s: float, longest_s: float = LONGEST_S
    ) -> None:
        self._request, self._max_bytes, self._patience_s = request, max_bytes, patience_s
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + longest_s
        self._received = 0
        self._waited_s = 0.0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces as they come."""
        declared = self._request.headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > _LENGTH_DIGITS or int(declared) > self._max_bytes):
            raise self._too_large()
        pieces = aiter(self._request.stream())
        while (piece := await self._next(pieces)) is not None:
            self._received += len(piece)
            if self._received > self._max_bytes:
                raise self._too_large()
            yield piece

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        began = self._loop.time()
        left_s = self._patience_s + self._received / _SLOWEST_BYTES_S - self._waited_s
        try:
            async with asyncio.timeout_at(min(self._end, began + min(self._patience_s, left_s))):
                return await anext(pieces, None)
        except TimeoutError:
            raise MalformedRequest(
                "The body did not arrive in time.", headers={"Connection": "close"}
            ) from None
        except ClientDisconnect:
            raise MalformedRequest("The client left before the body was complete.") from None
        finally:
            self._waited_s += self._loop.time() - began

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is over {self._max_bytes} bytes.", headers={"Connection": "close"})
