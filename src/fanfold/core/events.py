"""What a stream is made of, whatever carries it."""

from fanfold.core.values import value


@value
class Event:
    """One event of a stream: its name, and one JSON value as UTF-8. Without an `id` it has its number, from 1."""

    name: str
    data: bytes
    id: str | None = None


class Unread(Exception):
    """Who reads a stream has left its events unread for longer than they can be kept."""
