"""What a job holds opens in its own place alone."""

import pytest

from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.identifiers import uuid7
from fanfold.jobs.sealing import JobSealing, Sealed
from tests.fixtures.app import SECRET

RING = KeyRing([SECRET])
TEXT = "先展开，再折叠 🪭".encode()


def test_a_text_opens_where_it_was_sealed():
    sealing = JobSealing(RING, uuid7(), uuid7())
    for what in Sealed:
        sealed = sealing.seal(what, TEXT, 7)
        assert TEXT not in sealed
        assert sealing.open(what, sealed, 7) == TEXT


def test_it_opens_for_no_other_tenant_job_kind_or_number():
    tenant_id, job_id = uuid7(), uuid7()
    sealed = JobSealing(RING, tenant_id, job_id).seal(Sealed.RESULT, TEXT, 1)
    others = [
        (JobSealing(RING, uuid7(), job_id), Sealed.RESULT, 1),
        (JobSealing(RING, tenant_id, uuid7()), Sealed.RESULT, 1),
        (JobSealing(RING, tenant_id, job_id), Sealed.PART, 1),
        (JobSealing(RING, tenant_id, job_id), Sealed.RESULT, 2),
    ]
    for sealing, what, number in others:
        with pytest.raises(SealBroken):
            sealing.open(what, sealed, number)
