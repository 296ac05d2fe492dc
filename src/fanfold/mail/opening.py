"""Which mailer the settings name."""

from fanfold.core.config import MailSettings
from fanfold.core.lazily import on_call
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.mail.base import Mailer
from fanfold.mail.console import ConsoleMailer
from fanfold.mail.file import FileMailer

# With a client of SMTP, which is for whoever names a server of it.
SmtpMailer = on_call("fanfold.mail.smtp", "SmtpMailer")


def open_mailer(settings: MailSettings) -> Mailer:
    """Return the mailer of the settings, which have been checked when they were read."""
    url, sender = parse_mail_url(settings.url.get_secret_value()), parse_sender(settings.sender)
    match url.scheme:
        case "console":
            return ConsoleMailer()
        case "file":
            return FileMailer(url.folder, sender)
        case _:
            mailer: Mailer = SmtpMailer(url, sender)
            return mailer
