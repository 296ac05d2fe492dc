"""Secrets and signatures as Standard Webhooks has them (specification, "Signature scheme": symmetric, v1)."""

import base64
import datetime as dt
import hmac
import secrets
from collections.abc import Sequence
from uuid import UUID

from pydantic import SecretStr

from fanfold.core.crypto import KeyRing

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification wants 24 to 64


def make_secret() -> SecretStr:
    """Return a new secret: `whsec_` and 32 random bytes as base64."""
    return SecretStr(_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def signature(keys: Sequence[SecretStr], event_id: UUID, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: one signature for each secret, separated by spaces."""
    signed = b"%s.%d.%s" % (str(event_id).encode(), timestamp, body)
    return " ".join(f"v1,{_signed(key, signed)}" for key in keys)


def _signed(key: SecretStr, content: bytes) -> str:
    secret = base64.b64decode(key.get_secret_value().removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(secret, content, "sha256")).decode()


def bound_to(tenant_id: UUID, webhook_id: UUID) -> str:
    """Return what a webhook's secret is sealed to."""
    return f"webhook:{tenant_id}:{webhook_id}"


class SealedSecrets:
    """The secrets of one webhook as they are kept: the present one, and the one before until a moment."""

    def __init__(self, present: bytes, previous: bytes | None, previous_until: dt.datetime | None) -> None:
        self._present, self._previous, self._until = present, previous, previous_until

    def opened(self, key_ring: KeyRing, *, bound_to: str, now: dt.datetime) -> list[SecretStr]:
        """Return the secrets that sign at this moment, the newest first; raises `SealBroken`."""
        sealed = [self._present]
        if self._previous is not None and self._until is not None and now < self._until:
            sealed.append(self._previous)
        return [key_ring.unseal(each, bound_to=bound_to) for each in sealed]
