"""What can be wrong with a job's way into the queue."""

from fanfold.core.errors import Conflict
from fanfold.core.translation import translated


class StorageFull(Exception):
    """The tenant's jobs would take more than the `most` bytes that its plan lets it store."""

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most} bytes.")
        self.most = most


def _unstored(error: BaseException) -> Conflict | None:
    if not isinstance(error, StorageFull):
        return None
    return Conflict(
        f"The texts and answers of the tenant's jobs may take {error.most} bytes together; with this job they would "
        "take more. Delete jobs that have ended (DELETE /v1/jobs/{id}), or wait until their retention is over."
    )


storing = translated(_unstored)
"""Makes a 409 of a tenant's storage that is full."""
