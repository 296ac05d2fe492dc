"""slowapi's limits by client address. Imported with the first request to one of them, in a thread."""

from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from pathlib import Path
from time import time
from typing import ParamSpec, TypeVar

from fastapi import Request
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

from fanfold.core.config import IPNetwork
from fanfold.core.errors import RateLimited
from fanfold.ratelimit.client_address import address_key, client_address

# An empty file. Else slowapi reads the `.env` of the folder that the server is in at the first request.
_NO_SETTINGS = str(Path(__file__).with_name("__init__.py"))

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class AddressCounts:
    """The counts of one application, in this process. An endpoint is counted once, however many paths it has."""

    def __init__(self, trusted_proxies: Sequence[IPNetwork]) -> None:
        def address(request: Request) -> str:
            return address_key(client_address(request.scope, trusted_proxies))

        self._limiter = Limiter(
            key_func=address,
            storage_uri="memory://",
            strategy="fixed-window",
            key_style="endpoint",
            config_filename=_NO_SETTINGS,
        )

    def counted(
        self, endpoint: Callable[Parameters, Awaitable[Answer]], rate: str
    ) -> Callable[Parameters, Awaitable[Answer]]:
        """Return the endpoint, which takes `request`, counted by `rate`. It raises `RateLimited`."""
        limited: Callable[Parameters, Awaitable[Answer]] = self._limiter.limit(rate)(endpoint)

        async def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            try:
                return await limited(*args, **kwargs)
            except RateLimitExceeded:
                raise self._refusal(kwargs["request"]) from None

        return guarded

    def _refusal(self, request: object) -> RateLimited:
        assert isinstance(request, Request)  # noqa: S101 (`limit` refuses what takes none)
        limit, of_whom = request.state.view_rate_limit
        window_ends = self._limiter.limiter.get_window_stats(limit, *of_whom).reset_time
        return RateLimited(
            "Too many tries from your address. Wait for `Retry-After` seconds.",
            headers={"Retry-After": str(max(1, ceil(window_ends - time())))},
        )
