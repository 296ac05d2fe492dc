"""What was wrong with an attempt and what to change: words of ours, for the log and for tests."""

from http import HTTPStatus

from fanfold.fanout.types import CallError, Cause, ErrorCode

_OF_CAUSES = {
    Cause.NAME: "The name in `url` has no address. Check its spelling.",
    Cause.CONNECTION: "Nothing takes connections at the address and port of `url`. Check the port, that the receiver "
    "runs, and that its firewall lets this server in.",
    Cause.TLS: "At `url` there is no certificate that is trusted for this name, or no TLS at all. Use the name that is "
    "in the certificate, renew it, or have it issued by a public authority.",
    Cause.BROKEN_OFF: "The receiver took the event and closed the connection before it answered with a status. Its own "
    "log says why.",
    Cause.NOT_HTTP: "What listens there does not speak HTTP/1.1. Check the port of `url`, and https:// against http://.",
}
_FORBIDDEN = (
    "`url` leads to an address or port that webhooks may not have, such as one of a private network, or by http:// to "
    "a public one. Use https:// and a public address, or have the operator add its network to "
    "FANFOLD_UPSTREAM_ALLOWED_NETWORKS."
)
_OF_STATUSES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "It does not take the event. Where it checks signatures, give it the raw body: one that "
    "was parsed and written again is not the one that was signed.",
    HTTPStatus.UNAUTHORIZED: "It does not take the signature, or wants a credential. Check the secret it verifies "
    "with, and that it verifies the raw body.",
    HTTPStatus.FORBIDDEN: "It does not allow this. Check the secret it verifies with, and what stands before it.",
    HTTPStatus.NOT_FOUND: "It has nothing at the path of `url`.",
    HTTPStatus.METHOD_NOT_ALLOWED: "It does not take POST at the path of `url`.",
    HTTPStatus.GONE: "It says that it is gone for good: an event that it answers so disables the webhook.",
    HTTPStatus.TOO_MANY_REQUESTS: "It takes fewer events than it gets.",
}

DISABLED = "The webhook was disabled before this was delivered. Enable it, then replay the delivery."
TOO_MANY = "Too many deliveries wait for this webhook already. Once it takes them again, replay this one."


def of_failure(error: CallError) -> str:
    """Say why no answer came."""
    if error.code is ErrorCode.FORBIDDEN_ADDRESS:
        return _FORBIDDEN
    return _OF_CAUSES.get(error.cause, error.detail) if error.cause else error.detail


def of_status(status: int) -> str:
    """Say what an answer means that is not 2xx."""
    if status in _OF_STATUSES:
        return f"The receiver answered {status}. {_OF_STATUSES[status]}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"The receiver failed on its own side ({status}). Its log says why."
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"The receiver redirects ({status}), which is not followed. Set `url` to the final address."
    return f"The receiver answered {status}. Anything but 2xx counts as not delivered."


def of_time(timeout_s: float) -> str:
    """Say that no status came in time."""
    return (
        f"The receiver did not answer within {timeout_s:g} s. Have it answer at once and work afterwards; if nothing "
        "answers at all, a firewall may swallow what is sent to it."
    )
