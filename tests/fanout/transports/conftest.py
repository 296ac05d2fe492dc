"""Every test of this folder runs over each registered transport."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanfold.fanout.transports.registry import TRANSPORTS, transport
from tests.fanout.transports.calling import LOOPBACK
from tests.zoo import Zoo

Make = Callable[..., Any]


@pytest.fixture(params=sorted(TRANSPORTS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(kind: str) -> AsyncIterator[Make]:
    """Makes transports of the kind under test, and closes them."""
    async with AsyncExitStack() as stack:

        def made(**options: Any) -> Any:
            given: dict[str, Any] = {"guard": LOOPBACK, "max_connections": 50} | options
            one = transport(kind, **given)
            stack.push_async_callback(one.aclose)
            return one

        yield made


@pytest.fixture
async def zoo() -> AsyncIterator[Zoo]:
    async with Zoo() as zoo:
        yield zoo
