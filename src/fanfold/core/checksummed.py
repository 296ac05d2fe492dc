"""Random secrets with a typed prefix and a checksum: scanners find a leaked one, and a lookalike costs no query.

The form of GitHub's tokens, April 2021.
"""

import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH = 32  # 190 bits: no slow hash is needed for a secret that nobody chose.
CHECKSUM_LENGTH = 6


def random_text(length: int) -> str:
    """Return letters and digits that nobody can guess."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checksum(body: str) -> str:
    """Return the CRC-32 of `body` in base 62."""
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def with_checksum(body: str) -> str:
    """Return `body` and its checksum, joined by `_`."""
    return f"{body}_{checksum(body)}"


def is_intact(secret: str) -> bool:
    """Whether the checksum behind the last `_` is that of what stands before it."""
    body, _, found = secret.rpartition("_")
    return secrets.compare_digest(found.encode(), checksum(body).encode())
