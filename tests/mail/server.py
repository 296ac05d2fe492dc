"""A real SMTP server on loopback, which answers as a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Post:
    """What arrived, and what the server says to the next mails: answers to RCPT and DATA.

    `slow_s` before each of them, `slow_quit_s` before the farewell.
    """

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[Any] = field(default_factory=list)
    rcpt: str = "250 OK"
    data: str = "250 OK"
    slow_s: float = 0.0
    slow_quit_s: float = 0.0

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        await asyncio.sleep(self.slow_s)
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.slow_s)
        if self.data.startswith("250"):
            self.envelopes.append(envelope)
        return self.data

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.slow_quit_s)
        return "221 Bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any
    ) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(handled=False, success=data.password == b"p@ss/word")


@asynccontextmanager
async def post_office(
    tls: ssl.SSLContext | None = None, *, port: int = 0, **options: Any
) -> AsyncIterator[Post]:
    """Listen on loopback while the body runs; `port` 0 is a free one."""
    post, loop = Post(), asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: SMTP(post, loop=loop, authenticator=post.authenticate, **options), "127.0.0.1", port, ssl=tls
    )
    post.port = listener.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        listener.close()
        await listener.wait_closed()
