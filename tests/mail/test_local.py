"""Mail for development: onto a console, into files; what a header may hold."""

import email
import email.policy
import io
import stat

import pytest

from fanfold.core.config import MailSettings
from fanfold.core.identifiers import uuid7
from fanfold.core.mail_urls import parse_sender
from fanfold.mail.base import Mail
from fanfold.mail.console import ConsoleMailer
from fanfold.mail.file import FileMailer
from fanfold.mail.message import compose
from fanfold.mail.opening import open_mailer
from fanfold.mail.smtp import SmtpMailer

SENDER = parse_sender("fanfold@example.com")


def mail(**members: str) -> Mail:
    return Mail(
        id=uuid7(), **{"to": "ada@example.com", "subject": "s", "text": "t", "html": "<p>h</p>", **members}
    )


async def test_the_console_shows_the_text_in_a_frame_and_obeys_nothing_in_it():
    stream = io.StringIO()
    await ConsoleMailer(stream).send(mail(text="你好 👋\n\x1b[2Jtoken", subject="Hello"))
    lines = stream.getvalue().splitlines()
    assert "│ To: ada@example.com" in lines
    assert "│ Subject: Hello" in lines
    assert "│ 你好 👋" in lines
    assert "│  [2Jtoken" in lines
    assert lines[1].startswith("┌")
    assert lines[-1].startswith("└")


@pytest.mark.usefixtures("loose_umask")
async def test_a_file_each_that_nobody_else_reads(tmp_path):
    folder, sent = tmp_path / "mail box", mail(text="你好\n")
    mailer = open_mailer(MailSettings(url=f"file://{folder.as_posix().replace(' ', '%20')}"))
    assert isinstance(mailer, FileMailer)
    for _ in range(2):
        await mailer.send(sent)
    (file,) = folder.iterdir()
    assert file.name == f"{sent.id}.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert message["To"] == "ada@example.com"


def test_a_header_is_one_line_whatever_stands_in_it():
    message = compose(mail(subject="Hello\r\nBcc: eve@example.com"), SENDER)
    assert message["Subject"] == "Hello Bcc: eve@example.com"
    assert message["Bcc"] is None
    assert b"\nBcc:" not in message.as_bytes()


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com",
        "ada",
        "аda@example.com",
        "",
    ],
)
def test_who_is_no_single_address_gets_no_mail(to):
    with pytest.raises(ValueError, match=r".+"):
        compose(mail(to=to), SENDER)


@pytest.mark.parametrize(
    ("url", "kind"),
    [("console://", ConsoleMailer), ("smtp://mail.example.com", SmtpMailer), ("smtps://h", SmtpMailer)],
)
def test_the_settings_choose(url, kind):
    assert isinstance(open_mailer(MailSettings(url=url)), kind)
