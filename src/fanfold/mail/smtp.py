"""Mail by SMTP: TLS from the first byte (smtps), or STARTTLS before anything is said (smtp)."""

import asyncio
from email.headerregistry import Address

from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPRecipientsRefused

from fanfold.core.mail_urls import MailUrl
from fanfold.core.telemetry.logging import get_logger
from fanfold.mail.base import Mail
from fanfold.mail.message import compose

# Within the time that the outbox gives a handler: it is this refusal that is logged, not its cancellation.
DEADLINE_S = 20.0
FAREWELL_S = 2.0
_PERMANENT = 500

_log = get_logger("fanfold.mail")


class SmtpMailer:
    """Hands a mail to a server on a connection of its own.

    To a server that is not on this machine nothing is said without TLS. What the server refuses for good (5xx for the
    mailbox or the mail, RFC 5321, 4.2.1) is logged and not tried again; all else is raised: OSError, TimeoutError,
    `aiosmtplib.SMTPException`.
    """

    def __init__(
        self,
        url: MailUrl,
        sender: Address,
        *,
        deadline_s: float = DEADLINE_S,
        farewell_s: float = FAREWELL_S,
    ) -> None:
        self._url, self._sender = url, sender
        self._deadline_s, self._farewell_s = deadline_s, farewell_s

    async def send(self, mail: Mail) -> None:
        """Hand `mail` on within the deadline."""
        message, connection = compose(mail, self._sender), self._connection()
        try:
            async with asyncio.timeout(self._deadline_s):
                await connection.connect()
                await connection.send_message(message)
        except (SMTPRecipientsRefused, SMTPDataError) as error:
            code = _code(error)
            if code < _PERMANENT:
                raise
            _log.error("A mail is refused for good.", message_id=mail.id, status=code)
        finally:
            await self._leave(connection)

    async def _leave(self, connection: SMTP) -> None:
        # Not within the deadline: a mail that was taken is not sent again because its server is slow to say goodbye.
        try:
            async with asyncio.timeout(self._farewell_s):
                await connection.quit()
        except (SMTPException, OSError, TimeoutError):
            return
        finally:
            connection.close()

    def _connection(self) -> SMTP:
        url, is_tls = self._url, self._url.scheme == "smtps"
        return SMTP(
            hostname=url.host,
            port=url.port,
            username=url.user,
            password=url.password.get_secret_value() if url.password else None,
            local_hostname=self._sender.domain,
            use_tls=is_tls,
            start_tls=not is_tls and not url.is_loopback,
            timeout=self._deadline_s,
        )


def _code(error: SMTPRecipientsRefused | SMTPDataError) -> int:
    if isinstance(error, SMTPDataError):
        return error.code
    return min(each.code for each in error.recipients)
