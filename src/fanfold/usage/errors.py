"""Everything the ledger raises, besides core's `Overloaded` and `NotReady`.

LedgerError
├── Insufficient       the units do not fit into the period; `processing` makes the client's 402 of it
├── OverBudget         they do not fit into what the API key may use of it
├── KeyClaimed         another request has the idempotency key: it runs, or its answer is there
├── UnknownTenant      there is no such tenant
├── AlreadyReserved    the request holds a reservation already
└── Rejected           the database refuses this operation, alone or in company; the cause is attached
"""

from datetime import datetime


class LedgerError(Exception):
    """Base of the ledger's errors."""


class Insufficient(LedgerError):
    """Not enough units are free: `needed`, `remaining`, and `period_end`, when the next quota begins (UTC)."""

    def __init__(self, *, needed: int, remaining: int, period_end: datetime) -> None:
        super().__init__("The period has fewer free units than the request may need.")
        self.needed = needed
        self.remaining = remaining
        self.period_end = period_end


class OverBudget(Insufficient):
    """The API key's own budget has fewer free units: `remaining` are the budget's."""


class KeyClaimed(LedgerError):
    """The idempotency key belongs to another request, which runs or has its answer."""

    def __init__(self) -> None:
        super().__init__("Another request has this idempotency key. Look up what became of it.")


class UnknownTenant(LedgerError):
    """There is no such tenant, so there is no quota to take from."""

    def __init__(self) -> None:
        super().__init__("There is no such tenant.")


class AlreadyReserved(LedgerError):
    """The request id holds a reservation already; ids are made by the server, one for each request."""

    def __init__(self) -> None:
        super().__init__("This request id holds a reservation already. Make a new id for each request.")


class Rejected(LedgerError):
    """The database refuses the operation whatever comes with it: negative units, an event written by another settle."""

    def __init__(self) -> None:
        super().__init__("The database refused this operation of the ledger; the cause is attached.")
