"""A mail, and the port of what sends it."""

from typing import Protocol
from uuid import UUID

from fanfold.core.values import value


@value(kw_only=True)
class Mail:
    """A mail to one address, as text and as HTML. Sent again under the same `id`, it is the same mail."""

    id: UUID
    to: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Sends mails; raises where one could not be handed on yet, and is then asked again later."""

    async def send(self, mail: Mail) -> None:
        """Hand `mail` on."""
        ...
