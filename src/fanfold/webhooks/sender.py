"""One attempt: an event sent once, and what came of it. Raises nothing for anything a receiver does."""

import asyncio
import codecs
import datetime as dt
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from uuid import UUID

from pydantic import SecretStr

from fanfold.core.values import value
from fanfold.fanout.errors import CallFailed
from fanfold.fanout.retry import retry_after_s
from fanfold.fanout.transports.base import Progress, Transport, UpstreamRequest, UpstreamResponse
from fanfold.webhooks import words
from fanfold.webhooks.signing import signature

TIMEOUT_S = 15.0
ANSWER_BYTES = 4096
_PLAIN = frozenset({"", "identity"})


def utc_now() -> dt.datetime:
    """Return the time in UTC."""
    return dt.datetime.now(dt.UTC)


@value(kw_only=True)
class Event:
    """What is sent: `body` as it is signed, `id` the same for every attempt."""

    id: UUID
    body: str


@value(kw_only=True)
class Attempt:
    """What came of sending an event: `error` in plain words, None where it was delivered.

    `answer` is the beginning of the receiver's answer, `retry_after_s` what it asked for in seconds.
    """

    at: dt.datetime
    latency_ms: float
    status_code: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it: it answered 2xx."""
        return self.error is None


class Sender:
    """Sends events through a transport, and so through the address guard; follows no redirect.

    A status is an answer: 2xx is delivered, whatever becomes of its body, of which 4 KiB are kept.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self._transport, self._timeout_s, self._clock = transport, timeout_s, clock

    async def send(self, url: str, event: Event, keys: Sequence[SecretStr]) -> Attempt:
        """Send an event once, signed with each of the secrets, within 15 s."""
        at, start = self._clock(), time.monotonic()
        status, error, answer, asked = None, None, None, None
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._exchange(_request(url, event, keys, at))
            status, answer = response.status, _shown(response)
            if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                error = words.of_status(status)
                asked = retry_after_s(response.headers.get("retry-after"), now=at)
        except TimeoutError:
            error = words.of_time(self._timeout_s)
        except CallFailed as failure:
            error = words.of_failure(failure.error)
        latency_ms = round((time.monotonic() - start) * 1000, 1)
        return Attempt(
            at=at, latency_ms=latency_ms, status_code=status, error=error, answer=answer, retry_after_s=asked
        )

    async def _exchange(self, request: UpstreamRequest) -> UpstreamResponse:
        async with self._transport.stream(request, max_bytes=ANSWER_BYTES, progress=Progress()) as answer:
            body = b"".join([piece async for piece in answer.pieces])
            return UpstreamResponse(answer.status, answer.headers, body)


def _request(url: str, event: Event, keys: Sequence[SecretStr], at: dt.datetime) -> UpstreamRequest:
    body, timestamp = event.body.encode(), int(at.timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(event.id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(keys, event.id, timestamp, body),
    }
    return UpstreamRequest("POST", url, headers, body, peek_bytes=ANSWER_BYTES)


def _shown(response: UpstreamResponse) -> str | None:
    """Return the beginning of an answer as text, without half a letter at its end; None for a compressed one."""
    if response.headers.get("content-encoding", "").strip().lower() not in _PLAIN:
        return None
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(response.body)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") or None
