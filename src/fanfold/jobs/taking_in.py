"""Input that comes in piece by piece: cut, priced and spooled as it comes, while the client waits."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

from fanfold.core.errors import Overloaded
from fanfold.core.values import value
from fanfold.fanout.cutting import cut
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.planning import MAX_CALLS, check_units
from fanfold.fanout.splitters.registry import units_of
from fanfold.fanout.splitters.streaming import StreamedText
from fanfold.fanout.types import Chunk
from fanfold.jobs.errors import storing
from fanfold.jobs.input import Input, NdjsonInput, TextInput
from fanfold.jobs.intake import Draft, IntakeTools, Sums
from fanfold.jobs.spool import PART_CALLS, portions
from fanfold.jobs.stored import StoredChunk
from fanfold.jobs.types import JobSource
from fanfold.processing.refusals import planning
from fanfold.tenants.limits import Limits

T = TypeVar("T")

# What is taken at once: enough that going off the loop and back counts for little.
_AT_ONCE = 128 * 1024
_SHORT = 8 * 1024
# How long a full pool is waited for, in the middle of an upload.
_PATIENCE_S, _PAUSE_S = 15.0, 0.1


@value
class Taken:
    """What came in: what it comes to, and the SHA-256 of its bytes."""

    sums: Sums
    digest: str


class TakingIn:
    """Takes the input of one draft."""

    def __init__(
        self, tools: IntakeTools, draft: Draft, source: JobSource, limits: Limits, *, max_line: int
    ) -> None:
        self._tools, self._draft, self._limits = tools, draft, limits
        self._input = _input(draft, source, limits, max_line=max_line)
        # How many there will be is not known yet; a prompt that says it is priced as if they were as many as may be.
        self._whole = MAX_CALLS if source is JobSource.NDJSON else min(limits.max_chunks, MAX_CALLS)
        asked = draft.asked
        each = len(asked.upstreams) if asked.strategy == "broadcast" else 1
        self._most = max(1, PART_CALLS // each)
        self._waiting: list[StoredChunk] = []
        self._calls = self._units = 0

    async def take(self, content: AsyncIterator[bytes]) -> Taken:
        """Take all that comes. Raises 400, 409, 413, 422, and 503 where the server has too much work."""
        running = hashlib.sha256()
        with planning, storing:
            size = 0
            async for data in _gathered(content):
                running.update(data)
                size += len(data)
                await self._add(await self._off_the_loop(partial(self._input.feed, data), len(data)))
            await self._add(await self._off_the_loop(self._input.end, size), is_last=True)
            fold_units = self._tools.fan_out.fold_units_max(self._draft.asked.fold, answers=self._calls)
            check_units(self._units + fold_units)
        sums = Sums(total=self._calls, characters=self._input.characters, units_max=self._units + fold_units)
        return Taken(sums, running.hexdigest())

    async def _add(self, chunks: Sequence[StoredChunk], *, is_last: bool = False) -> None:
        self._waiting.extend(chunks)
        ready = list(portions(self._waiting, most=self._most))
        self._waiting = [] if is_last or not ready else list(ready.pop())
        for portion in ready:
            plan = await self._tools.fan_out.plan_chunks(
                self._draft.asked,
                tuple(Chunk(one.index, one.start, one.end, one.text) for one in portion),
                whole=self._whole,
            )
            self._calls += len(plan.calls)
            self._units += plan.units_max
            await self._draft.spool.add(
                portion, first_index=plan.calls[0].index, calls=len(plan.calls), units_max=plan.units_max
            )

    async def _off_the_loop(self, function: Callable[[], T], size: int) -> T:
        if size <= _SHORT:
            return function()
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            try:
                return await self._tools.offload.run(function)
            except Overloaded:
                if asyncio.get_running_loop().time() > give_up_at:
                    raise
                await asyncio.sleep(_PAUSE_S)


def _input(draft: Draft, source: JobSource, limits: Limits, *, max_line: int) -> Input:
    split, most = draft.asked.split, min(limits.max_chunks, MAX_CALLS)
    if source is JobSource.NDJSON:
        cutting = partial(cut, split=split, kinds=Kinds(), most=most)
        return NdjsonInput(cutting, max_characters=limits.max_text_chars, max_line_bytes=max_line)
    text = StreamedText(units_of(split.by), split, max_chunks=most)
    return TextInput(text, max_characters=limits.max_text_chars)


async def _gathered(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered = bytearray()
    async for piece in content:
        gathered += piece
        if len(gathered) >= _AT_ONCE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
