"""The way out of an answer: what each middleware adds to its head is written in one place, and its body passes none."""

from collections.abc import Awaitable, Callable

from starlette.types import Message, Send

Add = Callable[[Message], None]
_HEADS = frozenset({"http.response.start", "websocket.http.response.start"})


class Outgoing:
    """A `send` that gives each head to `add`, which may change it: its headers are a list. All else goes straight on.

    Around another one it takes over what that adds, after its own: many middlewares are one step on the way.
    """

    __slots__ = ("adding", "send")

    def __init__(self, send: Send, add: Add) -> None:
        self.send: Send = send
        self.adding: tuple[Add, ...] = (add,)
        if type(send) is Outgoing:
            self.send, self.adding = send.send, (add, *send.adding)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send one message."""
        if message["type"] in _HEADS:
            message = {**message, "headers": [*message.get("headers", ())]}
            for add in self.adding:
                add(message)
        return self.send(message)
