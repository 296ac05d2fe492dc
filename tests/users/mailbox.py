"""What people do with their mail."""

import re
import secrets
from datetime import datetime
from email.message import EmailMessage

from tests.fixtures.app import Person, Product
from tests.fixtures.database import connect


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


async def changed_at(product: Product, person: Person) -> datetime:
    """Return since when mails to the person hold."""
    connection = await connect(product.database.superuser_url)
    try:
        found: datetime = await connection.fetchval(
            "select credentials_changed_at from fanfold.users where id = $1", person.id
        )
    finally:
        await connection.close()
    return found
