"""Mail for development: onto standard error, where whoever started the server sees it."""

import asyncio
import sys
from typing import TextIO

from fanfold.mail.base import Mail

_WIDTH = 78


class ConsoleMailer:
    """Writes a mail's text with a frame around it; `stream` is standard error unless given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, mail: Mail) -> None:
        """Write `mail`."""
        await asyncio.to_thread(self._write, mail)

    def _write(self, mail: Mail) -> None:
        lines = [f"To: {mail.to}", f"Subject: {mail.subject}", "", *mail.text.splitlines()]
        framed = [f"│ {_shown(line)}" for line in lines]
        bar = "─" * _WIDTH
        stream = self._stream or sys.stderr
        stream.write("\n".join(("", f"┌{bar} mail", *framed, f"└{bar}", "")))
        stream.flush()


def _shown(line: str) -> str:
    # A terminal obeys control characters.
    return "".join(each if each.isprintable() else " " for each in line)
