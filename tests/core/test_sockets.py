"""What a socket sends on its way out: refusals that pages can read, and nothing behind the end."""

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from fanfold.core.errors import (
    ConcurrencyExceeded,
    FanfoldError,
    InsufficientScope,
    NotAuthenticated,
    NotReady,
    RateLimited,
    TenantSuspended,
)
from fanfold.core.sockets import SocketMiddleware, closing, code_of, subprotocol_of

ACCEPT: Message = {"type": "websocket.accept"}


async def sent_by(*messages: Message, offered: tuple[str, ...] = (), gone_at: int = 99) -> list[Message]:
    """Return what of an application's messages reaches the server."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async def send(message: Message) -> None:
        if len(sent) == gone_at:
            raise OSError
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("it does not read")

    scope = {"type": "websocket", "subprotocols": list(offered)}
    await SocketMiddleware(app)(scope, receive, send)
    return sent


@pytest.mark.parametrize("code", [4401, 4403, 4429, 1013])
async def test_a_refused_handshake_is_accepted_so_that_its_close_can_be_read(code: int):
    assert await sent_by(closing(code, "why")) == [
        {**ACCEPT, "subprotocol": None},
        {"type": "websocket.close", "code": code, "reason": "why"},
    ]


@pytest.mark.parametrize("code", [1000, 1008])
async def test_any_other_stays_refused(code: int):
    assert await sent_by(closing(code, "")) == [{"type": "websocket.close", "code": code, "reason": ""}]


async def test_it_is_accepted_once_and_closed_once_and_nothing_follows():
    frame = {"type": "websocket.send", "text": "好"}
    sent = await sent_by(ACCEPT, frame, closing(4401, ""), frame, closing(1013, ""))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]


@pytest.mark.parametrize("gone_at", [0, 1, 2])
async def test_a_client_that_has_gone_is_no_fault(gone_at: int):
    frame = {"type": "websocket.send", "text": "x"}
    assert len(await sent_by(ACCEPT, frame, closing(4401, ""), gone_at=gone_at)) == gone_at


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None), (("chat",), None), (("bearer.a",), "bearer.a"), (("chat", "bearer.a"), "bearer.a"),
        (("bearer.a", "fanfold"), "fanfold"), (("fanfold",), "fanfold"),
    ],
)  # fmt: skip
async def test_the_sub_protocol_is_one_that_was_offered_and_no_secret_where_there_is_another(
    offered: tuple[str, ...], chosen: str | None
):
    assert subprotocol_of({"type": "websocket", "subprotocols": list(offered)}) == chosen
    for message in (ACCEPT, closing(4401, "")):
        assert (await sent_by(message, offered=offered))[0]["subprotocol"] == chosen


async def test_other_scopes_pass():
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.append(args)

    args: Any = ({"type": "http"}, None, None)
    await SocketMiddleware(app)(*args)
    assert seen == [args]


def test_a_reason_fits_a_control_frame_and_no_character_is_cut():
    assert closing(4401, "好" * 50)["reason"] == "好" * 41
    assert closing(4401, "a" * 200)["reason"] == "a" * 123


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAuthenticated, 4401), (InsufficientScope, 4403), (TenantSuspended, 4403), (RateLimited, 4429),
        (ConcurrencyExceeded, 4429), (NotReady, 1013),
    ],
)  # fmt: skip
def test_each_refusal_has_its_code(error: type[FanfoldError], code: int):
    assert code_of(error("")) == code
