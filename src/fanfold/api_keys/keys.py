"""The form of an API key: `ff_live_<public id>_<secret>_<crc32 in base62>`."""

import re

from pydantic import SecretStr

from fanfold.core.checksummed import CHECKSUM_LENGTH, SECRET_LENGTH, random_text, with_checksum
from fanfold.core.values import value

PREFIX = "ff_live"
PUBLIC_ID_LENGTH = 12
_FORM = re.compile(
    rf"{PREFIX}_[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}"
)


@value
class IssuedKey:
    """A new key: shown once, then only its digest is kept."""

    public_id: str
    key: SecretStr


def issue() -> IssuedKey:
    """Make a new key."""
    public_id = random_text(PUBLIC_ID_LENGTH)
    return IssuedKey(
        public_id, SecretStr(with_checksum(f"{PREFIX}_{public_id}_{random_text(SECRET_LENGTH)}"))
    )


def has_form(credential: str) -> bool:
    """Whether `credential` is written like a key, whatever its checksum."""
    return _FORM.fullmatch(credential) is not None
