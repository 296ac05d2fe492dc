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


class NotAuthenticated(FanfoldError):
    """No credential, or one that does not hold."""

    status, code, title = 401, "not-authenticated", "Not authenticated"


class QuotaExhausted(FanfoldError):
    """Not enough units are left; members `needed`, `remaining`, `period_ends_at`."""

    status, code, title = 402, "quota-exhausted", "Quota exhausted"


class InsufficientScope(FanfoldError):
    """The credential holds, but lacks the scope."""

    status, code, title = 403, "insufficient-scope", "Insufficient scope"


class TenantSuspended(FanfoldError):
    """The tenant is suspended; only an operator can resume it."""

    status, code, title = 403, "tenant-suspended", "Tenant suspended"


class ScopeExceedsGrantor(FanfoldError):
    """A key may not have a scope that its maker lacks."""

    status, code, title = 403, "scope-exceeds-grantor", "Scope exceeds grantor"


class NotFound(FanfoldError):
    """There is no such object, or it belongs to somebody else: the same answer."""

    status, code, title = 404, "not-found", "Not found"


class MethodNotAllowed(FanfoldError):
    """The path exists, the method does not; `Allow` lists those that do."""

    status, code, title = 405, "method-not-allowed", "Method not allowed"


class Conflict(FanfoldError):
    """The object exists already, or a limit on how many there may be is reached."""

    status, code, title = 409, "conflict", "Conflict"


class TooLarge(FanfoldError):
    """The body, the text or the number of chunks is over its limit."""

    status, code, title = 413, "too-large", "Too large"


class UnsupportedMediaType(FanfoldError):
    """The body must be sent as `application/json`."""

    status, code, title = 415, "unsupported-media-type", "Unsupported media type"


class ValidationFailed(FanfoldError):
    """The body is JSON, but not valid; `errors` lists where and why, without the input."""

    status, code, title = 422, "validation", "Validation failed"


class UpstreamNotAllowed(FanfoldError):
    """An address that the request names is not one of the tenant's upstreams."""

    status, code, title = 422, "upstream-not-allowed", "Upstream not allowed"


class UnknownUpstream(FanfoldError):
    """The tenant has no such enabled upstream, or none was named and there is no default."""

    status, code, title = 422, "unknown-upstream", "Unknown upstream"


class RateLimited(FanfoldError):
    """Too many requests; `Retry-After` says when the next one is admitted."""

    status, code, title = 429, "rate-limited", "Rate limited"


class Overloaded(FanfoldError):
    """A bounded pool or queue of ours is full."""

    status, code, title = 503, "overloaded", "Overloaded"


class NotReady(FanfoldError):
    """The server is starting, or the database cannot be reached."""

    status, code, title = 503, "not-ready", "Not ready"


class InternalError(FanfoldError):
    """A fault of ours. The request id, and nothing else."""
