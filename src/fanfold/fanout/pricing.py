"""What a call may cost at most, and what an accepted answer did cost: integer units, never a float.

`units_per_call + ceil(units_per_1k_chars × code points / 1000)`, plus the same ceiling for input and output tokens,
each only where the upstream reports them and they are priced.
"""

from collections.abc import Iterator

from fanfold.fanout.adapters.base import Adapter, AdapterAnswer
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.types import Chunk, Meter, MeterReading, Upstream


def units_max(upstream: Upstream, chunk: Chunk, total: int, adapter: Adapter) -> int:
    """Return the most units an accepted answer of `upstream` for `chunk` can cost. Raises `InvalidPlan`."""
    return sum(
        reading.units for reading in _readings(upstream, chunk, *_bounds(upstream, chunk, total, adapter))
    )


def readings(
    upstream: Upstream, chunk: Chunk, total: int, *, adapter: Adapter, answer: AdapterAnswer
) -> tuple[MeterReading, ...]:
    """Return what an accepted answer is billed: always a reading of calls, the others only where they are priced.

    Tokens count up to the bound that was reserved, whatever the upstream reports.
    """
    most_input, most_output = _bounds(upstream, chunk, total, adapter)
    input_tokens = _at_most(answer.input_tokens, most_input)
    return tuple(_readings(upstream, chunk, input_tokens, _at_most(answer.output_tokens, most_output)))


def _bounds(upstream: Upstream, chunk: Chunk, total: int, adapter: Adapter) -> tuple[int | None, int | None]:
    """Return the most input and output tokens, each only where they are priced: rendering a prompt takes time."""
    price = upstream.price
    most_input = (
        adapter.input_tokens_bound(upstream, chunk, total) if price.units_per_1k_input_tokens else None
    )
    if not price.units_per_1k_output_tokens:
        return most_input, None
    most_output = adapter.output_tokens_bound(upstream)
    if most_output is None:
        raise InvalidPlan("Tokens priced on output need options.max_tokens, a whole number from 1.")
    return most_input, most_output


def _at_most(reported: int | None, bound: int | None) -> int | None:
    return None if reported is None or bound is None else min(reported, bound)


def _readings(
    upstream: Upstream, chunk: Chunk, input_tokens: int | None, output_tokens: int | None
) -> Iterator[MeterReading]:
    price = upstream.price
    yield MeterReading(Meter.CALLS, 1, price.units_per_call, price.units_per_call)
    for meter, rate, quantity in (
        (Meter.CHARACTERS, price.units_per_1k_chars, len(chunk.text)),
        (Meter.INPUT_TOKENS, price.units_per_1k_input_tokens, input_tokens),
        (Meter.OUTPUT_TOKENS, price.units_per_1k_output_tokens, output_tokens),
    ):
        if rate and quantity is not None:
            yield MeterReading(meter, quantity, -(-rate * quantity // 1000), rate)
