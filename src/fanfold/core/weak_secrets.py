"""Secrets that somebody could guess: copied from a page, typed without thought, or too regular to be random."""

import re

MIN_SECRET_CHARACTERS = 32
MIN_DISTINCT_CHARACTERS = 8
HOW_TO_MAKE_ONE = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"

# Parts of placeholders, as small letters and digits. Of these none is shorter than 7: in a key of 64 random
# characters one of them turns up by chance less than once in 100 million keys.
_PLACEHOLDERS = (
    "changeme", "changethis", "changeit", "changehere", "replaceme", "replacethis", "replacewith", "pleasechange",
    "yoursecret", "yourkey", "your256bit", "mysecret", "mykeyis", "secretkey", "supersecret", "topsecret", "verysecret",
    "secrethere", "asecretstring", "astringsecret", "notsecret", "notasecret", "notsosecret", "insecure", "placeholder",
    "password", "passw0rd", "example", "donotuse", "dontuse", "development", "production", "keyboardcat", "letmein1",
    "loremipsum", "qwertyuiop", "abcdefghij", "0123456789", "1234567890", "deadbeefdeadbeef", "insertkey", "todochange",
    "修改", "替换", "密钥", "示例", "占位",
)  # fmt: skip
# Whole keys of widely read pages: FastAPI's tutorial on OAuth2, Flask's on deployment.
_PUBLISHED = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    }
)


def weakness(secret: str) -> str | None:
    """Return what is wrong with a secret, without showing any of it; None where nothing is."""
    plain = re.sub(r"[\W_]", "", secret.lower())
    faults = {
        f"is shorter than {MIN_SECRET_CHARACTERS} characters": len(secret) < MIN_SECRET_CHARACTERS,
        "is the example of a published page": plain in _PUBLISHED,
        "is a placeholder": any(placeholder in plain for placeholder in _PLACEHOLDERS),
        f"has fewer than {MIN_DISTINCT_CHARACTERS} different characters": len(set(secret))
        < MIN_DISTINCT_CHARACTERS,
        "repeats itself": secret in (secret + secret)[1:-1],
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)
