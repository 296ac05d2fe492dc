"""What a call may cost at most, and what an accepted answer did cost: integer units, never a float.

`units_per_call + ceil(units_per_1k_chars × code points / 1000)`, plus the same ceiling for input and output tokens,
each only where they are priced. Tokens that the upstream does not report are counted as `o200k_base` counts them.
"""

from collections.abc import Iterator
from functools import lru_cache

from fanfold.core.lazily import on_call
from fanfold.core.values import value
from fanfold.fanout.adapters.base import Adapter, AdapterAnswer
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.json_text import as_text
from fanfold.fanout.types import Chunk, Meter, MeterReading, Price, Prompt, Upstream

count_tokens = on_call("fanfold.fanout.splitters.tokens", "count")

# What an upstream may put around a prompt: roles, separators.
_FRAME_TOKENS = 64


@value
class _Tokens:
    quantity: int
    is_counted: bool = False


def units_max(upstream: Upstream, chunk: Chunk, prompt: Prompt, adapter: Adapter) -> int:
    """Return the most units an answer to `prompt`, which is sent for `chunk`, can cost. Raises `InvalidPlan`."""
    if upstream.price.is_by_call:
        return upstream.price.units_per_call
    texts = _texts(upstream, prompt, adapter)
    most_input = None if texts is None else _Tokens(_input_bound(texts))
    most_output = _output_bound(upstream, adapter)
    bounds = _readings(upstream, chunk, most_input, None if most_output is None else _Tokens(most_output))
    return sum(reading.units for reading in bounds)


def by_call(price: Price) -> tuple[MeterReading, ...]:
    """Return the readings of an answer where nothing is priced but the call."""
    return _calls(price.units_per_call)


@lru_cache(maxsize=256)
def _calls(units: int) -> tuple[MeterReading, ...]:
    return (MeterReading(Meter.CALLS, 1, units, units),)


class Bill:
    """What one accepted answer costs: always a reading of calls, the others only where they are priced.

    Tokens count up to the bound that was reserved, whatever the upstream reports or answers.
    """

    def __init__(
        self, upstream: Upstream, chunk: Chunk, prompt: Prompt, *, adapter: Adapter, answer: AdapterAnswer
    ) -> None:
        self._upstream, self._chunk, self._answer = upstream, chunk, answer
        self._texts = _texts(upstream, prompt, adapter)
        self._most_output = _output_bound(upstream, adapter)
        is_read = self._most_output is not None and answer.output_tokens is None
        self._output = as_text(answer.result) if is_read else None

    @property
    def is_uncounted(self) -> bool:
        """Whether tokens are priced that the upstream did not report, so that `readings` has to count them."""
        return self._output is not None or (self._texts is not None and self._answer.input_tokens is None)

    @property
    def uncounted_length(self) -> int:
        """Code points of the texts to count: how long `readings` takes."""
        unreported = self._texts if self._answer.input_tokens is None else None
        return sum(map(len, unreported or ())) + len(self._output or "")

    def readings(self) -> tuple[MeterReading, ...]:
        """Return the readings; counting a million code points takes up to 0.2 s."""
        return tuple(_readings(self._upstream, self._chunk, self._input_tokens(), self._output_tokens()))

    def _input_tokens(self) -> _Tokens | None:
        if self._texts is None:
            return None
        return _bounded(self._answer.input_tokens, self._texts, _input_bound(self._texts))

    def _output_tokens(self) -> _Tokens | None:
        if self._most_output is None:
            return None
        return _bounded(self._answer.output_tokens, [self._output or ""], self._most_output)


def _bounded(reported: int | None, texts: list[str], bound: int) -> _Tokens:
    if reported is not None:
        return _Tokens(min(reported, bound))
    return _Tokens(min(sum(map(count_tokens, texts)), bound), is_counted=True)


def _texts(upstream: Upstream, prompt: Prompt, adapter: Adapter) -> list[str] | None:
    """Return what is sent, only where input tokens are priced: rendering takes time."""
    return adapter.texts(upstream, prompt) if upstream.price.units_per_1k_input_tokens else None


def _input_bound(texts: list[str]) -> int:
    """Return the most tokens that texts can be: no token is under a byte of UTF-8."""
    return sum(len(text.encode()) for text in texts) + _FRAME_TOKENS


def _output_bound(upstream: Upstream, adapter: Adapter) -> int | None:
    if not upstream.price.units_per_1k_output_tokens:
        return None
    bound = adapter.output_tokens_bound(upstream)
    if bound is None:
        raise InvalidPlan("Tokens priced on output need options.max_tokens, a whole number from 1.")
    return bound


def _readings(
    upstream: Upstream, chunk: Chunk, input_tokens: _Tokens | None, output_tokens: _Tokens | None
) -> Iterator[MeterReading]:
    price = upstream.price
    yield from by_call(price)
    for meter, rate, used in (
        (Meter.CHARACTERS, price.units_per_1k_chars, _Tokens(len(chunk.text))),
        (Meter.INPUT_TOKENS, price.units_per_1k_input_tokens, input_tokens),
        (Meter.OUTPUT_TOKENS, price.units_per_1k_output_tokens, output_tokens),
    ):
        if rate and used is not None:
            units = -(-rate * used.quantity // 1000)
            yield MeterReading(meter, used.quantity, units, rate, used.is_counted)
