"""What middlewares add to an answer is added in their order, and each sees what those further in have added."""

import pytest
from starlette.types import Message, Send

from fanfold.core.outgoing import Outgoing


def adds(name: bytes, seen: list[list[bytes]]):
    def add(head: Message) -> None:
        seen.append([header for header, _ in head["headers"]])
        head["headers"].append((name, b"x"))

    return add


@pytest.fixture
def sent() -> list[Message]:
    return []


@pytest.fixture
def send(sent: list[Message]) -> Send:
    async def take(message: Message) -> None:
        sent.append(message)

    return take


@pytest.mark.parametrize("kind", ["http.response.start", "websocket.http.response.start"])
async def test_the_innermost_adds_first_and_the_outermost_sees_all(
    sent: list[Message], send: Send, kind: str
):
    seen: list[list[bytes]] = []
    outer = Outgoing(send, adds(b"outer", seen))
    inner = Outgoing(outer, adds(b"inner", seen))
    await inner({"type": kind, "headers": ((b"own", b"x"),)})
    assert seen == [[b"own"], [b"own", b"inner"]]
    assert sent == [{"type": kind, "headers": [(b"own", b"x"), (b"inner", b"x"), (b"outer", b"x")]}]


async def test_what_is_sent_further_out_has_nothing_of_those_further_in(sent: list[Message], send: Send):
    outer = Outgoing(send, adds(b"outer", []))
    Outgoing(outer, adds(b"inner", []))
    await outer({"type": "http.response.start", "status": 503})
    assert sent == [{"type": "http.response.start", "status": 503, "headers": [(b"outer", b"x")]}]


async def test_somebody_elses_send_between_two_is_passed(sent: list[Message], send: Send):
    outer = Outgoing(send, adds(b"outer", []))

    async def between(message: Message) -> None:
        await outer({**message, "status": 204})

    await Outgoing(between, adds(b"inner", []))({"type": "http.response.start", "status": 200})
    assert [(each["status"], [name for name, _ in each["headers"]]) for each in sent] == [
        (204, [b"inner", b"outer"])
    ]


async def test_the_applications_own_message_stays_as_it_is(send: Send):
    message = {"type": "http.response.start", "status": 200, "headers": [(b"own", b"x")]}
    await Outgoing(send, adds(b"outer", []))(message)
    assert message == {"type": "http.response.start", "status": 200, "headers": [(b"own", b"x")]}


@pytest.mark.parametrize(
    "kind",
    [
        "http.response.body",
        "websocket.send",
        "websocket.accept",
        "websocket.close",
        "lifespan.startup.complete",
    ],
)
async def test_all_else_goes_on_untouched(sent: list[Message], send: Send, kind: str):
    message = {"type": kind}
    await Outgoing(Outgoing(send, adds(b"outer", [])), adds(b"inner", []))(message)
    assert sent[0] is message
    assert message == {"type": kind}
