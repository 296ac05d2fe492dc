"""The form of an API key: `ff_live_<public id>_<secret>_<crc32 in base62>`.

A typed prefix lets secret scanners find a leaked key, and the checksum lets them, and us, tell it from a lookalike
without a query (the form of GitHub's tokens, April 2021).
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass

from pydantic import SecretStr

PREFIX = "ff_live"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 32  # 190 bits: no slow hash is needed for a key that nobody chose.
CHECKSUM_LENGTH = 6
_FORM = re.compile(
    rf"({PREFIX}_[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}})_([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key: shown once, then only its digest is kept."""

    public_id: str
    key: SecretStr


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def issue() -> IssuedKey:
    """Make a new key."""
    public_id = _random(PUBLIC_ID_LENGTH)
    body = f"{PREFIX}_{public_id}_{_random(SECRET_LENGTH)}"
    return IssuedKey(public_id, SecretStr(f"{body}_{_checksum(body)}"))


def is_well_formed(credential: str) -> bool:
    """Whether `credential` has the form and the checksum of a key; says nothing of whether it holds."""
    found = _FORM.fullmatch(credential)
    return found is not None and secrets.compare_digest(found[2], _checksum(found[1]))
