"""A quota as it is read: what the ledger would say of it now, by the rules of its own `ledger_commit`."""

from datetime import date
from uuid import UUID

from fanfold.core.values import value


@value(kw_only=True)
class PrepaidState:
    """Units that never reset: granted so far, and drawn by all periods. `drawn` may be more than a taken-back grant."""

    granted: int
    drawn: int

    @property
    def remaining(self) -> int:
        """Units that no period has drawn."""
        return max(self.granted - self.drawn, 0)


@value(kw_only=True)
class QuotaState:
    """A tenant's units of one period: granted by limit and grants, held by requests, billed.

    `drawn` of those held and billed come from the prepaid balance; `prepaid` is None where there never was one.
    """

    period_start: date
    granted: int
    reserved: int
    used: int
    overage_allowed: bool = False
    drawn: int = 0
    prepaid: PrepaidState | None = None

    @property
    def remaining(self) -> int | None:
        """Units that the ledger would still hold for a request; None where overage is allowed."""
        if self.overage_allowed:
            return None
        own = max(self.granted - self.reserved - self.used, 0)
        return own + (self.prepaid.remaining if self.prepaid else 0)

    @property
    def warning(self) -> int | None:
        """80 or 100 where so many percent are used of all that there is to use; else None."""
        beyond = 0 if self.overage_allowed or not self.prepaid else self.drawn + self.prepaid.remaining
        return warning_of(self.used, self.granted + beyond)


@value(kw_only=True)
class BudgetState:
    """What an API key may use of a period, holds, and has used."""

    api_key_id: UUID
    granted: int
    reserved: int
    used: int

    @property
    def remaining(self) -> int:
        """Units that the key may still hold, as far as the tenant's quota has them."""
        return max(self.granted - self.reserved - self.used, 0)

    @property
    def warning(self) -> int | None:
        """80 or 100 where so many percent of the budget are used; else None."""
        return warning_of(self.used, self.granted, of_nothing=100)


def warning_of(used: int, limit: int, *, of_nothing: int | None = None) -> int | None:
    """Return 80 or 100 as soon as that many percent of `limit` are used; `of_nothing` where the limit is 0."""
    if used == 0:
        return None
    if limit == 0:
        return of_nothing
    if used >= limit:
        return 100
    return 80 if used >= limit - limit // 5 else None
