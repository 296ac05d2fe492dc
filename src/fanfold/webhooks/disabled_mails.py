"""The mail that tells a tenant's owners that a webhook was disabled."""

from urllib.parse import urlsplit
from uuid import UUID, uuid5

from sqlalchemy import select

from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.mail.base import Mail, Mailer
from fanfold.mail.templates import render
from fanfold.outbox.types import Message
from fanfold.users.models import Membership, User
from fanfold.webhooks.repository import WebhookRepository

_OWNERS = (
    select(User.id, User.email)
    .join(Membership, Membership.user_id == User.id)
    .where(Membership.role == "owner")
)


@value
class DisabledMails:
    """The handler of `mail.webhook_disabled`; a webhook that is enabled again or gone is told to nobody."""

    database: Database
    mailer: Mailer
    server: str

    async def __call__(self, message: Message) -> None:
        """Send a mail to each owner; raises what the mailer raises, and KeyError for a payload that is none."""
        webhook_id, reason = UUID(message.payload["webhook_id"]), message.payload["reason"]
        async with self.database.session(message.tenant_id) as session, session.begin():
            webhook = await WebhookRepository(session, message.tenant_id).find(webhook_id)
            owners = (await session.execute(_OWNERS.where(Membership.tenant_id == message.tenant_id))).all()
        if webhook is None or webhook.enabled:
            return
        # Not its whole address: many hold a token.
        receiver = "://".join(urlsplit(webhook.url)[:2])
        values = {"receiver": receiver, "reason": reason, "webhook_id": webhook_id}
        subject, text, html = render("webhook_disabled", server=self.server, **values)
        for owner in owners:
            # Sent again, it is the same mail to the same person.
            mail_id = uuid5(message.id, str(owner.id))
            await self.mailer.send(Mail(id=mail_id, to=owner.email, subject=subject, text=text, html=html))
