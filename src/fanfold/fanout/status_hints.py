"""What to do about an upstream that answered with a status other than 2xx: words of ours, never of its answer.

The body of a refusal is not read: it may hold the prompt or the credential.
"""

from http import HTTPStatus

# Not in RFC 9110. Anthropic: "The API is temporarily overloaded" (https://platform.claude.com/docs/en/api/errors).
OVERLOADED = 529

_HINTS = {
    HTTPStatus.BAD_REQUEST: "; check its model, options and request_template, and the size of a chunk",
    HTTPStatus.UNAUTHORIZED: "; check its credential",
    HTTPStatus.PAYMENT_REQUIRED: "; its account wants to be paid",
    HTTPStatus.FORBIDDEN: "; check its credential",
    HTTPStatus.NOT_FOUND: "; check its url and model",
    HTTPStatus.METHOD_NOT_ALLOWED: "; check its url and method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "; send smaller chunks",
    HTTPStatus.UNPROCESSABLE_ENTITY: "; check its options and request_template",
    HTTPStatus.TOO_MANY_REQUESTS: "; it takes fewer requests than it was sent, or its account is used up",
    OVERLOADED: "; it is overloaded, try again later",
}


def status_hint(status: int) -> str:
    """Return what to do about this status, as the end of a sentence; empty where nothing is known."""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ", a redirect, which is not followed; register the final address"
    return _HINTS.get(status, "")
