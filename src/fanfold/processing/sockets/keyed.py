"""Requests over a WebSocket with an idempotency key: the same keys as those of `POST /v1/process`."""

from typing import Any
from uuid import UUID

from fanfold.core.crypto import KeyRing
from fanfold.core.errors import ValidationFailed
from fanfold.core.long_json import PIECE
from fanfold.core.offload import Offload
from fanfold.core.values import value
from fanfold.idempotency.fingerprint import fingerprint_of
from fanfold.idempotency.header import known_by
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.processing.replay import HOW_IT_IS_SENT
from fanfold.processing.schemas import OnDisconnect
from fanfold.processing.sockets.frames import ProcessFrame

# Whose socket has gone asks by HTTP: one key is one request, whichever way it comes.
_ROUTE = "/v1/process"
_NO_KEY = "continue needs an idempotency_key beside the request: without one nobody could ask for the answer"


@value
class Keys:
    """Where kept answers are, and what is needed to know a request again."""

    answers: KeptAnswers
    key_ring: KeyRing
    offload: Offload

    async def known(self, frame: ProcessFrame, request: Any, tenant_id: UUID) -> KeyedRequest | None:
        """Return what a request is known by, None without a key; `request` is the frame's as it was sent."""
        if frame.idempotency_key is None:
            return None
        is_long = len(frame.request.text) > PIECE
        asked = await fingerprint_of(request, HOW_IT_IS_SENT, self.offload if is_long else None)
        key = frame.idempotency_key
        return known_by(self.key_ring, tenant_id=tenant_id, route=_ROUTE, key=key, asked=asked)


def check_goes_on(frame: ProcessFrame) -> bool:
    """Return whether the request goes on when its client leaves; raises a 422 where it is to without a key."""
    goes_on = frame.request.on_disconnect is OnDisconnect.CONTINUE
    if goes_on and frame.idempotency_key is None:
        errors = [{"loc": ["body", "request", "on_disconnect"], "msg": _NO_KEY, "type": "value_error"}]
        raise ValidationFailed(_NO_KEY, errors=errors)
    return goes_on
