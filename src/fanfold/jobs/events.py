"""A job's events: its results and what it went through, in the order of their numbers, for as long as it is there.

They are rows, so a reader goes on where it left off, at whatever process. Each page is read in one statement, which
sees one moment; between two pages nothing is held but the number of the last event.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from uuid import UUID

import orjson
from sqlalchemy import RowMapping, text

from fanfold.core.db import Database
from fanfold.core.drain import Drain
from fanfold.core.events import Event, Unread
from fanfold.core.values import value
from fanfold.jobs.answers import JobAnswers, no_such_job
from fanfold.jobs.reading import SealedResult
from fanfold.jobs.types import JobStatus
from fanfold.jobs.watching import JobWatch, Watched

# As long as the longest request: the credential was judged at the beginning. Who wants more resumes.
STREAM_S = 900.0
# For a reader that takes nothing any more.
READ_MARGIN_S = 30.0
PROGRESS_EVERY_S = 0.25
PAGE_EVENTS = 64
PAGE_BYTES = 512 * 1024
# Before the first event, whose number is 0.
BEGINNING = -1

_PAGE = text(
    """
    select j.seq as last, j.status as job_status, j.ended_at is not null as has_ended, j.total,
           j.successful + j.failed as done, e.*
      from fanfold.jobs j
      left join lateral (
           select w.* from (
                  select u.*, sum(u.bytes) over (order by u.seq) as so_far from (
                         (select r.seq, r.call_index, null as status, null::timestamptz as changed_at, r.body,
                                 octet_length(r.body) as bytes
                            from fanfold.job_results r
                           where r.tenant_id = j.tenant_id and r.job_id = j.id and r.seq > :after
                             and r.call_index < j.total
                           order by r.seq limit :most)
                         union all
                         (select c.seq, null, c.status, c.changed_at, null, 0 from fanfold.job_changes c
                           where c.tenant_id = j.tenant_id and c.job_id = j.id and c.seq > :after
                           order by c.seq limit :most)
                         order by seq limit :most) u) w
            where w.so_far - w.bytes < :bytes) e on true
     where j.tenant_id = :tenant_id and j.id = :job_id
     order by e.seq
    """
)


@value(kw_only=True)
class EventsPage:
    """Events that follow one another. `last` is the number of the last one, or of the job's last where none follows."""

    events: Sequence[Event]
    last: int
    has_more: bool
    job_seq: int
    has_ended: bool
    done: int
    total: int

    @property
    def is_end(self) -> bool:
        """Whether the job has ended, and all that led there has been told."""
        return self.has_ended and not self.has_more


class JobEvents:
    """Tells jobs' events, from wherever a reader left off."""

    def __init__(
        self,
        database: Database,
        answers: JobAnswers,
        watch: JobWatch,
        drain: Drain,
        *,
        stream_s: float = STREAM_S,
    ) -> None:
        self._database, self._answers, self._stream_s = database, answers, stream_s
        self._watch, self._drain = watch, drain

    async def page(self, tenant_id: UUID, job_id: UUID, after: int) -> EventsPage:
        """Return the events after number `after`, as many as a page takes; a 404 where there is no such job."""
        values = {
            "tenant_id": tenant_id, "job_id": job_id, "after": after, "most": PAGE_EVENTS, "bytes": PAGE_BYTES,
        }  # fmt: skip
        async with self._database.session(tenant_id) as session:
            rows = (await session.execute(_PAGE, values)).mappings().all()
        if not rows:
            raise no_such_job()
        first, found = rows[0], [row for row in rows if row["seq"] is not None]
        is_full = len(found) == PAGE_EVENTS or sum(row["bytes"] for row in found) >= PAGE_BYTES
        return EventsPage(
            events=await self._events_of(tenant_id, job_id, found),
            last=found[-1]["seq"] if is_full else first["last"],
            has_more=is_full,
            job_seq=first["last"],
            has_ended=first["has_ended"],
            done=first["done"],
            total=first["total"],
        )

    @asynccontextmanager
    async def stream(
        self, tenant_id: UUID, job_id: UUID, first: EventsPage
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Tell `first` and what follows it until the job has ended.

        It ends before, for a reader to resume, where 15 minutes are over or the server stops.

        Ends in a `NotFound` where the job is deleted meanwhile, and in `Unread` for who has stopped to read.
        """
        until = asyncio.get_running_loop().time() + self._stream_s
        try:
            async with asyncio.timeout_at(until + READ_MARGIN_S):
                with self._watch.watching(tenant_id, job_id, self._drain) as watched:
                    telling = _Telling(self, tenant_id, job_id, watched, until)
                    async with aclosing(telling.events(first)) as events:
                        yield events
        except TimeoutError:
            raise Unread from None

    async def done(self, tenant_id: UUID, job_id: UUID) -> bytes | None:
        """Return the job as the last event shows it; None where it runs again."""
        ended = await self._answers.ended(tenant_id, job_id)
        return b"".join(ended) if ended else None

    async def _events_of(self, tenant_id: UUID, job_id: UUID, rows: Sequence[RowMapping]) -> list[Event]:
        sealed = [SealedResult(row["call_index"], row["body"]) for row in rows if row["body"] is not None]
        opened = iter(await self._answers.opened(tenant_id, job_id, sealed))
        return [
            Event("status", _encode_change(row), str(row["seq"]))
            if row["body"] is None
            else Event("chunk", next(opened), str(row["seq"]))
            for row in rows
        ]


class _Telling:
    """One reader's stream."""

    def __init__(
        self, source: JobEvents, tenant_id: UUID, job_id: UUID, watched: Watched, until: float
    ) -> None:
        self._source, self._watched, self._until = source, watched, until
        self._tenant_id, self._job_id = tenant_id, job_id
        self._now = asyncio.get_running_loop().time
        self._told: int | None = None
        self._next_progress = self._now()

    async def events(self, page: EventsPage) -> AsyncGenerator[Event, None]:
        while True:
            for event in page.events:
                yield event
            if self._is_due(page) or (page.is_end and page.done != self._told):
                yield self._progress(page)
            if page.is_end and (job := await self._source.done(self._tenant_id, self._job_id)):
                yield Event("done", job, f"{page.last}.done")
                return
            if not (page.has_more or page.has_ended or await self._goes_on(page.last)):
                return
            page = await self._source.page(self._tenant_id, self._job_id, page.last)

    async def _goes_on(self, last: int) -> bool:
        """Wait for the next event; False where the stream's time is over, or the server stops."""
        try:
            async with asyncio.timeout_at(self._until):
                return await self._watched.goes_beyond(last)
        except TimeoutError:
            return False

    def _is_due(self, page: EventsPage) -> bool:
        return page.done != self._told and self._now() >= self._next_progress

    def _progress(self, page: EventsPage) -> Event:
        self._told, self._next_progress = page.done, self._now() + PROGRESS_EVERY_S
        return Event("progress", orjson.dumps({"done": page.done, "total": page.total}))


def _encode_change(row: RowMapping) -> bytes:
    return orjson.dumps(
        {"status": JobStatus(row["status"]), "changed_at": row["changed_at"]}, option=orjson.OPT_UTC_Z
    )
