"""One base exception; type, title and status belong to the class. Rendered in `core.problems` alone."""

from typing import Any, ClassVar


class FanfoldError(Exception):
    """An error a client may see, as RFC 9457 problem+json.

    `detail` says what happened and what to do, and never repeats the input. `members` are extension members of the
    problem; `headers` go onto the answer.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    advice: ClassVar[str] = (
        "Try again. If it happens again, give the request id to the operator of this server."
    )

    def __init__(
        self,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.members = members


class MalformedRequest(FanfoldError):
    """The body is not the JSON it must be."""

    status, code, title = 400, "malformed-request", "Malformed request"
    advice = "Send UTF-8 JSON without NaN, Infinity, NUL, lone surrogates or a member given twice, at most 64 levels."


class NotAuthenticated(FanfoldError):
    """No credential, or one that does not hold."""

    status, code, title = 401, "not-authenticated", "Not authenticated"
    advice = "Send a valid API key as `Authorization: Bearer ...` or `X-API-Key: ...`."


class QuotaExhausted(FanfoldError):
    """Not enough units are left; members `needed`, `remaining`, `period_ends_at`."""

    status, code, title = 402, "quota-exhausted", "Quota exhausted"
    advice = (
        "Send less at once, wait until `period_ends_at`, or ask the operator for units; where it is an API key's "
        "budget, have it raised. Repeating the request will not help."
    )


class InsufficientScope(FanfoldError):
    """The credential holds, but lacks the scope."""

    status, code, title = 403, "insufficient-scope", "Insufficient scope"
    advice = "Use an API key that has the scope, or have one made."


class TenantSuspended(FanfoldError):
    """The tenant is suspended, or deleted and not erased yet; only an operator can resume it."""

    status, code, title = 403, "tenant-suspended", "Tenant suspended"
    advice = "Ask the operator of this server to resume the tenant."


class ScopeExceedsGrantor(FanfoldError):
    """A key may not have a scope that its maker lacks."""

    status, code, title = 403, "scope-exceeds-grantor", "Scope exceeds grantor"
    advice = "Ask for scopes that your own credential has."


class NotFound(FanfoldError):
    """There is no such object, or it belongs to somebody else: the same answer."""

    status, code, title = 404, "not-found", "Not found"
    advice = "Check the path and the id; list the objects to see which there are."


class MethodNotAllowed(FanfoldError):
    """The path exists, the method does not; `Allow` lists those that do."""

    status, code, title = 405, "method-not-allowed", "Method not allowed"
    advice = "Use one of the methods in the `Allow` header."


class Conflict(FanfoldError):
    """The object exists already, or a limit on how many there may be is reached."""

    status, code, title = 409, "conflict", "Conflict"
    advice = "Choose another name, delete what is no longer needed, or read the object's present state first."


class TooLarge(FanfoldError):
    """The body, the text or the number of chunks is over its limit."""

    status, code, title = 413, "too-large", "Too large"
    advice = "Send less at once, or ask for a plan with a higher limit."


class UnsupportedMediaType(FanfoldError):
    """The body must be sent as `application/json`."""

    status, code, title = 415, "unsupported-media-type", "Unsupported media type"
    advice = "Send the body with `Content-Type: application/json`."


class ValidationFailed(FanfoldError):
    """The body is JSON, but not valid; `errors` lists where and why, without the input."""

    status, code, title = 422, "validation", "Validation failed"
    advice = "Mend the members listed in `errors`."


class UpstreamNotAllowed(FanfoldError):
    """An address that the request names is not one of the tenant's upstreams."""

    status, code, title = 422, "upstream-not-allowed", "Upstream not allowed"
    advice = "Register the address as an upstream, or name an upstream by its slug."


class UnknownUpstream(FanfoldError):
    """The tenant has no such enabled upstream, or none was named and there is no default."""

    status, code, title = 422, "unknown-upstream", "Unknown upstream"
    advice = "Name enabled upstreams of your own by their slugs; `GET /v1/upstreams` lists them."


class RateLimited(FanfoldError):
    """Too many requests; `Retry-After` says when the next one is admitted."""

    status, code, title = 429, "rate-limited", "Rate limited"
    advice = "Wait for `Retry-After` seconds; spread requests over time."


class ConcurrencyExceeded(FanfoldError):
    """As many requests of the tenant, or of the API key, run at once as may."""

    status, code, title = 429, "concurrency-exceeded", "Concurrency exceeded"
    advice = "Wait until one of your requests has ended, then try again; send fewer at once."


class Overloaded(FanfoldError):
    """A bounded pool or queue of ours is full."""

    status, code, title = 503, "overloaded", "Overloaded"
    advice = "Try again after `Retry-After` seconds."


class NotReady(FanfoldError):
    """The server is starting, cannot reach its database, or lacks a key to what it keeps sealed."""

    status, code, title = 503, "not-ready", "Not ready"
    advice = "Try again after `Retry-After` seconds."


class Draining(FanfoldError):
    """The server is stopping."""

    status, code, title = 503, "draining", "Draining"
    advice = "Open a new connection and try again after `Retry-After` seconds; another server, or the next, answers."


class InternalError(FanfoldError):
    """A fault of ours. The request id, and nothing else."""
