"""Where a credential stands in a WebSocket's handshake, or in its first frame."""

from starlette.types import Message
from starlette.types import Scope as AsgiScope

from fanfold.auth.credentials import MAX_CREDENTIAL_BYTES, read_credential
from fanfold.core import strict_json
from fanfold.core.errors import MalformedRequest, NotAuthenticated

FIRST_FRAME_S = 5.0
_BEARER = "bearer."
_MAX_FRAME = MAX_CREDENTIAL_BYTES + 256
_NO_QUERY = "Send nothing in the query, where logs keep it: use a header, bearer.<token>, or an auth frame."
_NO_FRAME = (
    'Send a credential: a header, sub-protocol bearer.<token>, or first {"type":"auth","token":"..."}.'
)
TOO_LATE = f'No credential within {FIRST_FRAME_S:.0f} s. First send {{"type":"auth","token":"..."}}.'


def handshake_credential(scope: AsgiScope) -> str | None:
    """Return the credential of a header, or else of a sub-protocol `bearer.<token>`; None where neither was sent.

    Raises `NotAuthenticated` for whatever stands in the query, which is no place for secrets, nor takes anything else.
    """
    if scope.get("query_string"):
        raise NotAuthenticated(_NO_QUERY)
    credential = read_credential(scope)
    if credential is not None:
        return credential
    offered = [each for each in scope.get("subprotocols", ()) if each.startswith(_BEARER)]
    if len(offered) > 1:
        return ""
    return offered[0].removeprefix(_BEARER)[: MAX_CREDENTIAL_BYTES + 1] if offered else None


def frame_credential(message: Message) -> str:
    """Return the token of `{"type": "auth", "token": ...}`; raises `NotAuthenticated` for any other frame."""
    text = message.get("text")
    if not isinstance(text, str) or len(text) > _MAX_FRAME:
        raise NotAuthenticated(_NO_FRAME)
    try:
        frame = strict_json.loads(text.encode())
    except MalformedRequest:
        raise NotAuthenticated(_NO_FRAME) from None
    match frame:
        case {"type": "auth", "token": str(token), **rest} if not rest:
            return token
    raise NotAuthenticated(_NO_FRAME)
