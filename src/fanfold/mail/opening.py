"""Which mailer the settings name."""

from fanfold.core.config import MailSettings
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.mail.base import Mailer
from fanfold.mail.console import ConsoleMailer
from fanfold.mail.file import FileMailer
from fanfold.mail.smtp import SmtpMailer


def open_mailer(settings: MailSettings) -> Mailer:
    """Return the mailer of the settings, which have been checked when they were read."""
    url, sender = parse_mail_url(settings.url.get_secret_value()), parse_sender(settings.sender)
    match url.scheme:
        case "console":
            return ConsoleMailer()
        case "file":
            return FileMailer(url.folder, sender)
        case _:
            return SmtpMailer(url, sender)
