"""Which passwords are too easy to guess, by zxcvbn (Wheeler, USENIX Security 2016)."""

from collections.abc import Sequence

from zxcvbn_rs_py import zxcvbn

# zxcvbn's 0: within 1,000 guesses, 1: within 1,000,000.
FEWEST = 2
# Its time grows with the square of the length, and it keeps the interpreter to itself meanwhile: 6 ms for 48
# characters, 30 ms for 128. A password is at least as hard to guess as its beginning.
_PART = 48


def weakness(password: str, known: Sequence[str] = ()) -> str | None:
    """Return why a password is too easy, in words, or None. `known` is what whoever guesses knows. Blocks some ms."""
    words = [word[:_PART] for word in known if word]
    found = zxcvbn(password[:_PART], words)
    if int(found.score) >= FEWEST:
        return None
    said = found.feedback
    warning = (
        str(said.warning) if said and said.warning else "It is close to what is known of you, or too short."
    )
    advice = " ".join(map(str, said.suggestions)) if said else ""
    return f"Too easy to guess. {warning} {advice}".rstrip()
