"""What can be wrong with a job's way into the queue."""

from fanfold.core.errors import Conflict
from fanfold.core.translation import translated


class StorageFull(Exception):
    """The tenant's jobs would take more bytes than its plan lets it store."""


def storing(most: int) -> translated:
    """Make a 409 of a tenant's storage that is full; `most` bytes is the limit."""
    return translated(lambda error: _full(most) if isinstance(error, StorageFull) else None)


def _full(most: int) -> Conflict:
    return Conflict(
        f"The texts and answers of the tenant's jobs may take {most} bytes together; with this job they would take "
        "more. Delete jobs that have ended (DELETE /v1/jobs/{id}), or wait until their retention is over."
    )
