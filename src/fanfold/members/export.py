"""A tenant's export: one zip, made while it is sent, of which no more than a page is ever in memory.

Each page is read in a transaction of its own: a slow reader holds no connection, and what changes meanwhile may be in
the export or not. A body that is cut off is no zip: its directory comes last.
"""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import text

from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.members.export_files import FILES, ExportFile, statement_of

# Rows of a page: some 150 KB.
PAGE = 500
# Deflated on the loop: half a millisecond of it at once.
_PIECE_BYTES = 64 * 1024
_LEVEL = 1


class _Pipe(io.RawIOBase):
    """What zipfile writes to: it can neither seek nor tell, so sizes follow their data."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep `data` until it is taken."""
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken


@value
class TenantExport:
    """All of one tenant that is its own to take along."""

    database: Database
    tenant_id: UUID

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the zip."""
        pipe = _Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for file in FILES:
                with archive.open(f"{file.name}.ndjson", "w", force_zip64=True) as entry:
                    async for page in self.pages(file):
                        for piece in _pieces(page):
                            entry.write(piece)
                            await asyncio.sleep(0)
                        yield pipe.take()
        yield pipe.take()

    async def pages(self, file: ExportFile) -> AsyncIterator[bytes]:
        """Yield the lines of a file, a page at a time."""
        after: dict[str, Any] = {}
        while True:
            values = {"tenant_id": self.tenant_id, "most": PAGE, **after}
            async with self.database.session(self.tenant_id) as session, session.begin():
                found = await session.execute(text(statement_of(file, is_first=not after)), values)
                rows = found.mappings().all()
            if rows:
                yield "".join(f"{row['line']}\n" for row in rows).encode()
            if len(rows) < PAGE:
                return
            after = {name: rows[-1][name] for name in file.key}


def _pieces(page: bytes) -> Iterator[memoryview]:
    view = memoryview(page)
    for start in range(0, len(view), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]
