"""What jobs keep sealed, sealed with the newest secret key: some rows at a time, so that no job waits for it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from fanfold.core.db import Base, Database
from fanfold.core.resealing import Resealing
from fanfold.jobs.models import JobPart, JobResult, JobRow
from fanfold.jobs.sealing import Sealed, bound_to

_FIRST = (UUID(int=0), -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Where something that is sealed stands. `most` rows of it make some 16 MiB, but for single large ones."""

    what: Sealed
    table: type[Base]
    job: InstrumentedAttribute[UUID]
    number: ColumnElement[int] | InstrumentedAttribute[int]
    sealed: InstrumentedAttribute[Any]
    most: int

    def former(self, tenant_id: UUID, newest: bytes, after: tuple[UUID, int]) -> Select[UUID, int, Any]:
        """Select and lock the next rows that another key than the newest sealed."""
        place = tuple_(self.job, self.number)
        return (
            select(self.job, self.number, self.sealed)
            .where(
                self.table.__table__.c.tenant_id == tenant_id,
                place > tuple_(literal(after[0]), literal(after[1])),
                func.substring(self.sealed, 1, len(newest)) != newest,
            )
            .order_by(self.job, self.number)
            .limit(self.most)
            .with_for_update(of=self.table)
        )


_KINDS = (
    _Kind(
        what=Sealed.REQUEST, table=JobRow, job=JobRow.id, number=literal(0), sealed=JobRow.request, most=64
    ),
    _Kind(what=Sealed.OUTPUT, table=JobRow, job=JobRow.id, number=literal(0), sealed=JobRow.output, most=1),
    _Kind(
        what=Sealed.PART,
        table=JobPart,
        job=JobPart.job_id,
        number=JobPart.place,
        sealed=JobPart.body,
        most=64,
    ),
    _Kind(
        what=Sealed.RESULT,
        table=JobResult,
        job=JobResult.job_id,
        number=JobResult.call_index,
        sealed=JobResult.body,
        most=32,
    ),
)


async def reseal_jobs(database: Database, resealing: Resealing, tenant_id: UUID) -> int:
    """Return how many texts, answers and outputs of a tenant were sealed anew; what the newest key sealed stays.

    Cut off, it goes on where it was. What does not open stays as it is.
    """
    done = 0
    for kind in _KINDS:
        after: tuple[UUID, int] | None = _FIRST
        while after is not None:
            many, after = await _some(database, resealing, tenant_id, kind, after)
            done += many
    return done


async def _some(
    database: Database, resealing: Resealing, tenant_id: UUID, kind: _Kind, after: tuple[UUID, int]
) -> tuple[int, tuple[UUID, int] | None]:
    """Seal the next ones, in one transaction; returns how many, and the last, None where none follows."""
    async with database.session(tenant_id) as session, session.begin():
        rows = (await session.execute(kind.former(tenant_id, resealing.newest, after))).all()
        done = 0
        for job_id, number, sealed in rows:
            anew = resealing.anew(sealed, bound_to=bound_to(tenant_id, job_id, kind.what, number))
            if anew is None:
                continue
            done += 1
            here = update(kind.table).where(
                kind.table.__table__.c.tenant_id == tenant_id, kind.job == job_id, kind.number == number
            )
            await session.execute(
                here.values({kind.sealed: anew}), execution_options={"synchronize_session": False}
            )
    return done, (rows[-1][0], rows[-1][1]) if rows else None
