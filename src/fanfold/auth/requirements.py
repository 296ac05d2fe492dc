"""May they? A route states what it needs as a dependency; the middleware reads the same object before the body."""

from typing import Any

from fastapi import Depends
from fastapi.requests import HTTPConnection

from fanfold.auth.credentials import NO_CREDENTIAL
from fanfold.auth.principal import Principal, PrincipalKind, Scope
from fanfold.core.errors import InsufficientScope, NotAuthenticated, TenantSuspended
from fanfold.core.values import value

_OPERATOR = Scope.OPERATOR  # a call each time, before Python 3.12
_INSUFFICIENT = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
_REFUSED = {"deleted": "The tenant is deleted. Until it is erased, an operator can bring it back."}


@value
class Requirement:
    """A scope, or None for any credential of a tenant.

    `for_people`: whoever has signed in, in a tenant or in none; `for_all`: whatever credential holds.
    """

    scope: Scope | None = None
    for_people: bool = False
    for_all: bool = False

    def check(self, principal: Principal) -> None:
        """Let `principal` pass, or raise a 403."""
        if self.for_people or self.for_all:
            if self.for_people:
                _check_person(principal)
            return
        if self.scope is not None and self.scope not in principal.scopes:
            raise InsufficientScope(
                f"This needs the scope {self.scope}.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scope}"'},
            )
        if self.scope is _OPERATOR:
            return
        if principal.tenant is None:
            raise InsufficientScope(
                "This belongs to a tenant, and your credential is of none: use a key of the tenant, or sign in to it.",
                headers=_INSUFFICIENT,
            )
        if not principal.tenant.is_active:
            raise TenantSuspended(_REFUSED.get(principal.tenant.status, "The tenant is suspended."))

    async def __call__(self, request: HTTPConnection) -> Principal:
        """Return the request's or the socket's principal; the middleware has already refused those who may not."""
        principal: Principal | None = request.scope["state"].get("principal")
        if principal is None:
            raise NotAuthenticated(NO_CREDENTIAL)
        self.check(principal)
        return principal


def _check_person(principal: Principal) -> None:
    if principal.kind is not PrincipalKind.USER:
        raise InsufficientScope(
            "This belongs to a person: sign in, and send the access token.", headers=_INSUFFICIENT
        )


def Require(scope: Scope | None = None) -> Any:  # noqa: N802 (reads as a word of the signature)
    """Return the dependency that lets in who has `scope`."""
    return Depends(Requirement(scope))


def RequirePerson() -> Any:  # noqa: N802 (reads as a word of the signature)
    """Return the dependency that lets in whoever has signed in, also without a tenant."""
    return Depends(Requirement(for_people=True))


def RequireCredential() -> Any:  # noqa: N802 (reads as a word of the signature)
    """Return the dependency that lets in whatever credential holds."""
    return Depends(Requirement(for_all=True))
