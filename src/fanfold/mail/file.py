"""Mail for development and tests: a file each, which any mail program opens."""

import asyncio
import os
from email.headerregistry import Address
from pathlib import Path

from fanfold.mail.base import Mail
from fanfold.mail.message import compose


class FileMailer:
    """Writes `<id>.eml` into a folder that nobody else reads: links in mails are as good as passwords."""

    def __init__(self, folder: Path, sender: Address) -> None:
        self._folder, self._sender = folder, sender

    async def send(self, mail: Mail) -> None:
        """Write `mail`; the same id again is the same file."""
        await asyncio.to_thread(self._write, mail)

    def _write(self, mail: Mail) -> None:
        content = compose(mail, self._sender).as_bytes()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = self._folder / f".{mail.id}.{os.getpid()}"
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        written.replace(self._folder / f"{mail.id}.eml")
