"""Who changes something."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Whoever changes something: a kind of principal and its id, or the command line; `request_id` is the server's."""

    kind: str
    id: UUID | None = None
    request_id: str | None = None


COMMAND_LINE = Actor(kind="command_line")
