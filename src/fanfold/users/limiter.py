"""Limits by client address, for the few routes where passwords and mail addresses are guessed."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial, wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from fanfold.core.config import IPNetwork
from fanfold.core.lazily import imported, on_call

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Endpoint = Callable[Parameters, Awaitable[Answer]]

_COUNTS = "fanfold.users.address_counts"


class AddressLimiter:
    """The limits of one application, counted in this process. Decorate an endpoint once, however many paths it has."""

    def __init__(self, trusted_proxies: Sequence[IPNetwork]) -> None:
        self._counts = cache(partial(on_call(_COUNTS, "AddressCounts"), trusted_proxies))

    def limit(self, rate: str) -> Callable[[Endpoint[Parameters, Answer]], Endpoint[Parameters, Answer]]:
        """Return the decorator of an endpoint that takes `request`; `rate` as in `30/minute`. Raises `RateLimited`."""

        def decorate(endpoint: Endpoint[Parameters, Answer]) -> Endpoint[Parameters, Answer]:
            if "request" not in signature(endpoint).parameters:
                raise TypeError(f"{endpoint.__name__} takes no `request`: nobody could be counted.")

            @cache  # by the loop alone: a second one would count each request again
            def counted() -> Endpoint[Parameters, Answer]:
                made: Endpoint[Parameters, Answer] = self._counts().counted(endpoint, rate)
                return made

            @wraps(endpoint)
            async def limited(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
                await imported(_COUNTS)
                return await counted()(*args, **kwargs)

            return limited

        return decorate
