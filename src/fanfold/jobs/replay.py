"""A job that was made before with the same `Idempotency-Key`, as it was when it was made."""

from fanfold.core.db import Database
from fanfold.core.errors import Conflict
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.jobs.mapping import read_job
from fanfold.jobs.reading import JobReading
from fanfold.jobs.schemas import JobCounts, JobRead
from fanfold.jobs.types import JobStatus


async def made_before(database: Database, answers: KeptAnswers, keyed: KeyedRequest) -> JobRead | None:
    """Return the job that the key made, None where it is new. Raises 409 where that was deleted, 409, 422 and 503."""
    kept = await answers.look_up(keyed)
    if kept is None:
        return None
    async with database.session(keyed.tenant_id) as session:
        row = await JobReading(session).find(keyed.tenant_id, kept.request_id)
    if row is None:
        raise Conflict(
            "This Idempotency-Key made a job, which has been deleted since. Use a new key to make another."
        )
    counts = JobCounts(total=row.total, successful=0, failed=0, pending=row.total)
    later = dict.fromkeys(("error", "started_at", "ended_at", "expires_at", "cancel_requested_at"))
    return read_job(row).model_copy(
        update={"status": JobStatus.QUEUED, "counts": counts, "units": 0, **later}
    )
