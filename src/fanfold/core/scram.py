"""Postgres's form of a stored password, made on our side."""

import base64
import hashlib
import hmac
import os
import stringprep
import unicodedata

_ITERATIONS = 4096  # what Postgres itself uses


def scram_verifier(password: str) -> str:
    """Return what Postgres stores of a password (RFC 5803), so that the password itself is in no statement or log."""
    kept = (character for character in password if not stringprep.in_table_b1(character))
    spaced = "".join(" " if stringprep.in_table_c12(character) else character for character in kept)
    salt = os.urandom(16)
    prepared = unicodedata.normalize("NFKC", spaced).encode()  # SASLprep, RFC 4013
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_64, stored_64, server_64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_64}${stored_64}:{server_64}"
