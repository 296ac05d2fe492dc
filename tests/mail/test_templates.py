"""Mails from templates."""

from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

import fanfold.mail
from fanfold.mail.templates import render

VALUES = {
    "server": "https://fanfold.example.com",
    "token": "t0ken",
    "hours": 24,
    "tenant": "扇 GmbH",
    "role": "admin",
}
FOLDER = Path(fanfold.mail.__file__).parent / "templates"
OURS = ["address_changing", "known_address", "new_address", "reset_password", "verify"]


@pytest.mark.parametrize("name", OURS)
def test_each_mail_has_a_subject_a_text_and_html_on_the_base(name):
    subject, text, html = render(name, **VALUES)
    assert subject
    assert "\n" not in subject
    assert text.endswith("\n")
    assert html.startswith("<!doctype html>")
    assert "https://fanfold.example.com" in text
    assert ("t0ken" in text) is ("t0ken" in html) is (name in {"verify", "reset_password", "new_address"})


def test_no_mail_lacks_a_half():
    names = [file.stem for file in FOLDER.iterdir() if file.stem != "base"]
    assert sorted(names) == sorted(2 * sorted(set(names)))
    assert set(OURS) <= set(names)


def test_what_people_chose_is_text_in_html_and_begins_no_line():
    sly = "<b>you</b>\nSubject: x\u2028\r\n\r\nPay here"
    _, text, html = render("verify", **{**VALUES, "token": sly})
    assert "    <b>you</b> Subject: x Pay here\n" in text
    assert "&lt;b&gt;you&lt;/b&gt; Subject: x Pay here" in html


def test_what_lacks_is_an_error_not_a_gap():
    with pytest.raises(UndefinedError):
        render("verify", server="x")
    with pytest.raises(TemplateNotFound):
        render("no such mail")
