"""Every edit of one character makes a text that is no key: refused before any query. All of them, of five keys."""

from collections.abc import Iterator

from fanfold.api_keys.authenticator import KeyAuthenticator
from fanfold.api_keys.keys import issue
from fanfold.core.checksummed import ALPHABET
from fanfold.core.crypto import KeyRing
from tests.fixtures.app import SECRET

KEYS = 5
# Beside the alphabet: what separates, what is trimmed, what looks alike, what case folding or normalising would change.
OTHERS = "_-.~+/= \t\n\r\0\x7f'\"\\%éßſKａ１一🙂\u200b\u0301\ud800"


class NoDatabase:
    """Whoever asks it has not refused in time."""

    def begin(self):
        raise AssertionError("a query was made")


def edits_of(key: str) -> Iterator[str]:
    letters = ALPHABET + OTHERS
    for at in range(len(key)):
        yield key[:at] + key[at + 1 :]
        yield from (key[:at] + letter + key[at + 1 :] for letter in letters)
        yield key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :]
    for at in range(len(key) + 1):
        yield from (key[:at] + letter + key[at:] for letter in letters)


async def test_every_one_is_refused_without_a_query(figures):
    authenticator = KeyAuthenticator(NoDatabase(), KeyRing([SECRET]))  # type: ignore[arg-type]  # a fake
    refused = 0
    for _ in range(KEYS):
        key = issue().key.get_secret_value()
        edits = set(edits_of(key)) - {key}
        for edited in edits:
            assert await authenticator.authenticate(edited) is None, edited
        refused += len(edits)
    figures(f"one-character edits of {KEYS} API keys: {refused}, refused without a query: {refused}")
