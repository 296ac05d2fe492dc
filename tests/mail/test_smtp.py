"""Mail by SMTP, to a real server."""

import asyncio
import email
import email.policy
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import Envelope
from aiosmtplib import SMTPAuthenticationError, SMTPDataError, SMTPException, SMTPRecipientsRefused

from fanfold.core.identifiers import uuid7
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.mail.base import Mail
from fanfold.mail.smtp import SmtpMailer
from tests.fixtures.server_processes import free_port
from tests.mail.server import Post, post_office

SENDER = parse_sender("Fanfold 扇 <fanfold@example.com>")


def mail(to: str = "ada@example.org") -> Mail:
    return Mail(
        id=uuid7(), to=to, subject="你好 👋🏽", text="Zeile\n第二行 " + "长" * 400, html="<p>你好</p>"
    )


def mailer(url: str, *, deadline_s: float = 10.0) -> SmtpMailer:
    return SmtpMailer(parse_mail_url(url), SENDER, deadline_s=deadline_s)


def received(post: Post) -> EmailMessage:
    content = post.envelopes[-1].content
    assert isinstance(content, bytes)
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def test_a_mail_arrives_whole_in_any_script():
    sent = mail()
    async with post_office() as post:
        await mailer(f"smtp://127.0.0.1:{post.port}").send(sent)
        message = received(post)
    assert post.envelopes[0].mail_from == "fanfold@example.com"
    assert post.envelopes[0].rcpt_tos == ["ada@example.org"]
    assert (message["Subject"], message["Message-ID"]) == (sent.subject, f"<{sent.id}@example.com>")
    assert message["From"] == "Fanfold 扇 <fanfold@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == sent.text.splitlines()
    assert html.get_content().strip() == sent.html


async def test_sent_twice_it_is_the_same_mail():
    sent = mail()
    async with post_office() as post:
        for _ in range(2):
            await mailer(f"smtp://127.0.0.1:{post.port}").send(sent)
    ids = [
        line for each in post.envelopes for line in _lines(each) if line.lower().startswith(b"message-id:")
    ]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def _lines(envelope: Envelope) -> list[bytes]:
    assert isinstance(envelope.content, bytes)
    return envelope.content.splitlines()


async def test_a_domain_of_another_script_travels_in_ascii():
    async with post_office() as post:
        await mailer(f"smtp://127.0.0.1:{post.port}").send(mail("ada@例子.com"))
    assert post.envelopes[0].rcpt_tos == ["ada@xn--fsqu00a.com"]


async def test_a_server_that_is_away_is_an_error_to_try_again():
    with pytest.raises(OSError):  # noqa: PT011 (whichever the system says)
        await mailer(f"smtp://127.0.0.1:{free_port()}").send(mail())


@pytest.mark.parametrize(("place", "error"), [("rcpt", SMTPRecipientsRefused), ("data", SMTPDataError)])
async def test_what_is_refused_for_now_is_tried_again(place, error):
    async with post_office() as post:
        setattr(post, place, "451 4.3.0 later")
        with pytest.raises(error):
            await mailer(f"smtp://127.0.0.1:{post.port}").send(mail())


@pytest.mark.parametrize("place", ["rcpt", "data"])
async def test_what_is_refused_for_good_is_not(place):
    async with post_office() as post:
        setattr(post, place, "550 5.1.1 no such mailbox")
        await mailer(f"smtp://127.0.0.1:{post.port}").send(mail())
    assert post.envelopes == []


async def test_a_slow_server_is_left_at_the_deadline():
    async with post_office() as post:
        post.slow_s = 30.0
        with pytest.raises((TimeoutError, SMTPException)):
            async with asyncio.timeout(20) as patience:
                await mailer(f"smtp://127.0.0.1:{post.port}", deadline_s=0.3).send(mail())
    assert not patience.expired()
    assert post.envelopes == []


async def test_the_deadline_is_for_all_that_is_said_together():
    async with post_office() as post:
        post.slow_s = 0.7
        with pytest.raises((TimeoutError, SMTPException)):
            await mailer(f"smtp://127.0.0.1:{post.port}", deadline_s=1.0).send(mail())


async def test_a_mail_that_was_taken_is_sent_whatever_comes_of_the_farewell():
    async with post_office() as post:
        post.slow_quit_s = 300.0
        patient = SmtpMailer(
            parse_mail_url(f"smtp://127.0.0.1:{post.port}"), SENDER, deadline_s=60.0, farewell_s=0.2
        )
        async with asyncio.timeout(60):
            await patient.send(mail())
    assert len(post.envelopes) == 1


async def test_it_signs_in_with_what_the_address_says():
    async with post_office(auth_require_tls=False) as post:
        await mailer(f"smtp://fan%40fold:p%40ss%2Fword@127.0.0.1:{post.port}").send(mail())
        assert post.logins == [(b"fan@fold", b"p@ss/word")]
        assert len(post.envelopes) == 1
        with pytest.raises(SMTPAuthenticationError):
            await mailer(f"smtp://fan%40fold:wrong@127.0.0.1:{post.port}").send(mail())
