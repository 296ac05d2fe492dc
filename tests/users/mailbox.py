"""What people do with their mail."""

import re
import secrets
from email.message import EmailMessage


def new_address() -> str:
    """Return an address that nobody has."""
    return f"{secrets.token_hex(6)}@example.com"


def token_of(mail: EmailMessage) -> str:
    """Return the token in a mail, which its text and its HTML both hold."""
    halves = [mail.get_body((kind,)) for kind in ("plain", "html")]
    contents = [half.get_content() if half else "" for half in halves]
    (text,), (html,) = (re.findall(r"[\w-]{10,}\.[\w-]+\.[\w-]+", content) for content in contents)
    assert text == html
    return str(text)
