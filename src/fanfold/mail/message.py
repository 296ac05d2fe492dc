"""A mail as it travels (RFC 5322)."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime

from email_validator import validate_email

from fanfold.mail.base import Mail


def compose(mail: Mail, sender: Address) -> EmailMessage:
    """Return the message, whose `Message-ID` is the mail's own id; raises ValueError where `to` is no address.

    What a header holds is one line: a line break in a subject is a space, and no address has one.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = Address(addr_spec=_plain(mail.to))
    message["Subject"] = " ".join(mail.subject.split())
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{mail.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _plain(address: str) -> str:
    # Servers that know no SMTPUTF8 take a domain in its ASCII form alone.
    found = validate_email(address, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    assert found.ascii_email is not None  # noqa: S101 (refused above where the name before the @ is not ASCII)
    return found.ascii_email
