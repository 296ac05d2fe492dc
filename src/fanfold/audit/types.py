"""Who changes something."""

from uuid import UUID

from fanfold.core.values import value


@value(kw_only=True)
class Actor:
    """Whoever changes something: a kind of principal and its id, or the command line; `request_id` is the server's."""

    kind: str
    id: UUID | None = None
    request_id: str | None = None


COMMAND_LINE = Actor(kind="command_line")
