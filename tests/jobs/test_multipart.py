"""Forms that only a parser sees: what is refused is refused where it begins, not when its turn comes."""

from collections.abc import AsyncIterator

import pytest

from fanfold.core.errors import ValidationFailed
from fanfold.jobs.multipart import JobForm

PART = b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n\r\n'


async def test_thousands_of_parts_in_one_piece_are_not_read():
    async def pieces() -> AsyncIterator[bytes]:
        yield PART * 5_000

    form = JobForm(pieces(), "multipart/form-data; boundary=x")
    with pytest.raises(ValidationFailed, match="nothing else"):
        await form.head()
    assert len(form._told) < 10
