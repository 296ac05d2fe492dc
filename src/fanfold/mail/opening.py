"""Which mailer the settings name."""

from collections.abc import Callable

from fanfold.core.config import MailSettings
from fanfold.core.lazily import on_call
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.mail.base import Mailer
from fanfold.mail.console import ConsoleMailer

# With what composes a mail, and with a client of SMTP: for whoever names a folder, or a server.
FileMailer: Callable[..., Mailer] = on_call("fanfold.mail.file", "FileMailer")
SmtpMailer: Callable[..., Mailer] = on_call("fanfold.mail.smtp", "SmtpMailer")


def open_mailer(settings: MailSettings) -> Mailer:
    """Return the mailer of the settings, which have been checked when they were read."""
    url = parse_mail_url(settings.url.get_secret_value())
    match url.scheme:
        case "console":
            return ConsoleMailer()
        case "file":
            return FileMailer(url.folder, parse_sender(settings.sender))
        case _:
            return SmtpMailer(url, parse_sender(settings.sender))
