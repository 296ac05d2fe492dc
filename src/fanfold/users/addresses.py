"""Mail addresses: which are taken, and when two of them are one person's."""

from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, StringConstraints

MAX_ADDRESS = 254


def canonical(address: str) -> str:
    """Return the address as it is kept: its domain in lower case and Unicode. Raises ValueError.

    No letters beyond ASCII before the @: one that only looks like another's would be sent that one's mail.
    """
    try:
        found = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError(
            "must be a mail address, for example ada@example.com, without letters beyond ASCII before the @"
        ) from None
    return found.normalized


def address_key(address: str) -> str:
    """Return what addresses are compared by: no mail system tells upper and lower case apart."""
    return address.lower()


def find_key(address: str) -> str | None:
    """Return the key of what somebody typed, or None where it is no address at all."""
    try:
        return address_key(canonical(address))
    except ValueError:
        return None


def _examples(schema: dict[str, Any]) -> None:
    schema.update(format="email", examples=["ada@example.com"])


Address = Annotated[
    str,
    StringConstraints(min_length=3, max_length=MAX_ADDRESS, strip_whitespace=True),
    AfterValidator(canonical),
    Field(json_schema_extra=_examples),
]
