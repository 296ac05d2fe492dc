"""Addresses of mail servers and senders, as settings give them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from fanfold.core.config import MailSettings
from fanfold.core.mail_urls import parse_mail_url, parse_sender
from fanfold.core.startup import explain


def test_a_server_with_a_password_of_any_characters():
    url = parse_mail_url("smtps://ada%40example.com:p%2F%3A%40s@mail.example.com")
    assert (url.scheme, url.host, url.port, url.user) == ("smtps", "mail.example.com", 465, "ada@example.com")
    assert url.password is not None
    assert url.password.get_secret_value() == "p/:@s"
    assert parse_mail_url("smtp://h").port == 587
    assert parse_mail_url("file:///var/mail%20box").folder == Path("/var/mail box")


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [("smtp://127.0.0.9", True), ("smtp://[::1]:25", True), ("smtp://localhost", True), ("smtp://10.0.0.1", False),
     ("smtp://localhost.example.com", False)],
)  # fmt: skip
def test_what_is_on_this_machine(url, is_loopback):
    assert parse_mail_url(url).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("url", "said"),
    [("mail.example.com", "console://"), ("http://x", "console://"), ("smtp://", "names no server"),
     ("file://folder", "three slashes"), ("file:///", "three slashes"), ("smtp://h:port", "console://"),
     ("smtp://me@h", "without a password"), ("smtp://me:a/b@h", "%2F"), ("smtp://h:25/x", "%2F"),
     ("console://x", "console://")],
)  # fmt: skip
def test_what_is_no_address_of_mail_is_said_in_words_and_not_repeated(url, said, monkeypatch):
    monkeypatch.setenv("FANFOLD_MAIL_URL", url)
    with pytest.raises(ValidationError) as raised:
        MailSettings()
    text = explain(raised.value)
    assert text is not None
    assert "FANFOLD_MAIL_URL" in text
    assert said in text
    assert "me:a" not in text


@pytest.mark.parametrize("sender", ["", "Fanfold", "a@", "Fanfold <a@b>\r\nBcc: c@d", "a b@c"])
def test_who_is_no_sender(sender):
    with pytest.raises(ValueError, match="must be an address"):
        parse_sender(sender)
    with pytest.raises(ValidationError):
        MailSettings(sender=sender)


def test_a_sender_has_a_name_in_any_script():
    assert str(parse_sender("扇 <fanfold@example.com>")) == "扇 <fanfold@example.com>"
