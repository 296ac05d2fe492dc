"""What is wrong with an upstream that was tried, and what to change: words of ours, never of its answer."""

from http import HTTPStatus

from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.types import CallError, Cause, ErrorCode, Upstream

_OF_CAUSES = {
    Cause.NAME: "The name in `url` has no address. Check its spelling; a name of a private network is not known here.",
    Cause.CONNECTION: "Nothing takes connections at the address and port of `url`. Check the port, that the server "
    "runs, and that its firewall lets this server in.",
    Cause.TLS: "At `url` there is no certificate that is trusted for this name, or no TLS at all. Use the name that "
    "is in the certificate, renew it, or have it issued by a public authority. Without TLS write http://, which is "
    "taken in networks that the operator allows.",
    Cause.BROKEN_OFF: "It took the request, and closed the connection before its answer was whole. Its own log says "
    "why: it may have restarted, or given up over what was sent.",
    Cause.NOT_HTTP: "What listens there does not speak HTTP/1.1. Check the port of `url`, and https:// against http://.",
    Cause.NOT_JSON: "Its answer is not JSON: `url` probably leads to a page for people. Take the address of the API.",
    Cause.RESPONSE_PATH: "`response_path` picks nothing of its answer. Set it to null, test again, and see in `result` "
    "what there is to pick.",
    Cause.COMPRESSED: "It answers compressed, though it was asked not to. Switch compression off there, or in the "
    "proxy before it.",
}
_OF_CODES = {
    ErrorCode.FORBIDDEN_ADDRESS: "`url` leads to an address that upstreams may not have, such as one of a private "
    "network, a port that they may not have, or http:// to a public one. Use https:// and a public address, or have "
    "the operator add its network to FANFOLD_UPSTREAM_ALLOWED_NETWORKS.",
    ErrorCode.TOO_LARGE: "Its answer to a few words is larger than what is taken. Have it answer less, by `options` or "
    "`request_template`.",
    ErrorCode.DEADLINE: "All its slots were taken by other requests. Try again, or raise `max_concurrency`.",
    ErrorCode.CIRCUIT_OPEN: "It failed so often of late that it is left alone for a while. Try again in a minute.",
}
_NOT_TAKEN = (
    "It does not take what it was sent. Check `request_template`, `options`, `headers` and `model` against its own "
    "documentation."
)
_OF_STATUSES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: _NOT_TAKEN,
    HTTPStatus.PAYMENT_REQUIRED: "Its account wants to be paid. Settle that with its provider.",
    HTTPStatus.FORBIDDEN: "It does not allow this. Check the rights of the credential, and that this server's address "
    "may call it.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _NOT_TAKEN
    + " It is sent JSON: check that it takes that, and `method`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: _NOT_TAKEN,
    HTTPStatus.TOO_MANY_REQUESTS: "It takes fewer requests than it gets, or its account is used up. Wait, lower "
    "`max_concurrency`, or ask its provider for more.",
}


def advice(error: CallError, upstream: Upstream, *, called: str | None, timeout_s: float) -> str:
    """Say what is wrong and what to change. `called` is method and path of the call, as `POST /v1/chat/completions`."""
    if error.code is ErrorCode.STATUS and error.status is not None:
        return _of_status(error.status, upstream, called)
    if error.cause is not None:
        return _OF_CAUSES[error.cause]
    if error.code is ErrorCode.TIMEOUT:
        return (
            f"It did not answer within {timeout_s:g} s. Raise `timeout_s` (a test waits for 30 s at most) or have it "
            "answer faster; if nothing answers at all, a firewall may swallow what is sent to it."
        )
    if error.code is ErrorCode.INVALID_ANSWER:
        return _of_answer(error, upstream, called)
    return _OF_CODES.get(error.code, error.detail)


def _of_answer(error: CallError, upstream: Upstream, called: str | None) -> str:
    if error.status in {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT}:
        return f"It answers {called} without any content. Check `url` and `method`: this is no call that answers."
    return f"Its answer is not what the kind {upstream.kind} promises. Check `kind` and `url`. {error.detail}"


def _of_status(status: int, upstream: Upstream, called: str | None) -> str:
    if status < HTTPStatus.BAD_REQUEST:
        return (
            "It redirects, which is not followed: the credential goes nowhere but to `url`. Register the final address "
            "as `url` (`curl -IL` shows it)."
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"It fails on its own side ({status}). Try again later; if it stays so, its log or provider says why."
    found: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: _unauthorized(upstream),
        HTTPStatus.NOT_FOUND: f"It has nothing at `{called}`. Check the path of `url`{_and_model(upstream)}.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"It does not take `{called}`. Check `method`, and the path of `url`.",
        **_OF_STATUSES,
    }
    return found.get(status, f"It refuses the call ({status}). {_NOT_TAKEN}")


def _unauthorized(upstream: Upstream) -> str:
    if upstream.credential is None:
        return "It wants a credential, and has none. Set `credential`."
    return (
        f"It does not take the credential, which is sent as `{upstream.auth_header}`. Set `credential` anew, and check "
        "`auth`: its header and scheme."
    )


def _and_model(upstream: Upstream) -> str:
    return ", and `model`" if adapter(upstream.kind).is_ai else ""
