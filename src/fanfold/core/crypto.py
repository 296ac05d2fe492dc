"""Keyed digests and sealed secrets, over a ring of keys so that a key can be replaced without an outage."""

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from fanfold.core.errors import NotReady
from fanfold.core.weak_secrets import HOW_TO_MAKE_ONE, MIN_SECRET_CHARACTERS, weakness

_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
SEAL_BYTES = _KEY_ID_BYTES + _NONCE_BYTES + _TAG_BYTES


class WeakSecret(Exception):
    """A secret key is missing, or could be guessed; the message says how to make one."""


class SealBroken(NotReady):
    """A sealed secret does not open: another key ring, another owner, or changed bytes.

    A client that needs it is told to come again; `explanation` says to the operator what to do.
    """

    def __init__(self, explanation: str) -> None:
        detail = (
            "The server cannot open what it keeps sealed for this. Its log tells its operator what to do."
        )
        super().__init__(detail, headers={"Retry-After": "60"})
        self.explanation = explanation


def _derive(secret: SecretStr, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"fanfold/" + purpose).derive(
        secret.get_secret_value().encode()
    )


def _check(secrets: Sequence[SecretStr]) -> None:
    if not secrets:
        raise WeakSecret(
            f"FANFOLD_SECRET_KEYS needs at least one key of {MIN_SECRET_CHARACTERS} characters or more. "
            f"{HOW_TO_MAKE_ONE}"
        )
    for number, secret in enumerate(secrets, 1):
        if found := weakness(secret.get_secret_value()):
            raise WeakSecret(f"Key {number} of FANFOLD_SECRET_KEYS {found}. {HOW_TO_MAKE_ONE}")


def key_id_of(sealed: bytes) -> str:
    """Return which secret key something was sealed with: a name, of which the key cannot be learnt."""
    return sealed[:_KEY_ID_BYTES].hex()


class KeyRing:
    """Digests and seals with the newest key; knows the older ones (HMAC-SHA256, AES-256-GCM, HKDF RFC 5869)."""

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        _check(secrets)
        self._secrets = list(secrets)
        self._digest_keys = [_derive(secret, b"digest") for secret in secrets]
        self._seals: dict[bytes, AESGCM] = {}
        for key in (_derive(secret, b"seal") for secret in secrets):
            self._seals.setdefault(hashlib.sha256(key).digest()[:_KEY_ID_BYTES], AESGCM(key))
        self._newest = next(iter(self._seals.items()))

    @property
    def key_ids(self) -> list[str]:
        """The names of the keys, newest first, as `key_id_of` has them."""
        return [key_id.hex() for key_id in self._seals]

    def digest(self, value: str) -> bytes:
        """Return the keyed digest of `value` under the newest key."""
        return self.digests(value)[0]

    def digests(self, value: str) -> list[bytes]:
        """Return the keyed digest of `value` under every key, newest first."""
        return [hmac.digest(key, value.encode(), "sha256") for key in self._digest_keys]

    def derived(self, purpose: str) -> list[SecretStr]:
        """Return a secret of its own for `purpose` from every key, newest first (256 bits as hexadecimal)."""
        return [SecretStr(_derive(secret, purpose.encode()).hex()) for secret in self._secrets]

    def seal(self, secret: SecretStr, *, bound_to: str) -> bytes:
        """Encrypt `secret`; it opens only with the same `bound_to` (key id, nonce, ciphertext)."""
        return self.seal_bytes(secret.get_secret_value().encode(), bound_to=bound_to)

    def unseal(self, sealed: bytes, *, bound_to: str) -> SecretStr:
        """Decrypt what `seal` made; raises `SealBroken`."""
        return SecretStr(self.unseal_bytes(sealed, bound_to=bound_to).decode())

    def seal_bytes(self, content: bytes, *, bound_to: str) -> bytes:
        """Encrypt `content`, which grows by `SEAL_BYTES`; some 0.5 ms for a MiB."""
        key_id, cipher = self._newest
        nonce = os.urandom(_NONCE_BYTES)
        return key_id + nonce + cipher.encrypt(nonce, content, bound_to.encode())

    def unseal_bytes(self, sealed: bytes, *, bound_to: str) -> bytes:
        """Decrypt what `seal_bytes` made; raises `SealBroken`."""
        cipher = self._seals.get(sealed[:_KEY_ID_BYTES])
        nonce, ciphertext = sealed[_KEY_ID_BYTES:][:_NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
        if cipher is None:
            raise SealBroken(
                f"Secret key {key_id_of(sealed)} is not in FANFOLD_SECRET_KEYS, but something is sealed with it: put "
                "it back, run `fanfold secrets reseal`, and only then take it out."
            )
        try:
            return cipher.decrypt(nonce, ciphertext, bound_to.encode())
        except InvalidTag:
            raise SealBroken("A sealed secret does not open for this owner; set it anew.") from None
