"""The circuits of all upstreams that are asked just now, by whose calls they are."""

import random as chance
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from fanfold.core.values import value
from fanfold.fanout.circuit import Circuit, CircuitRules, Outcome
from fanfold.fanout.types import CallError, ErrorCode, Upstream

MAX_CIRCUITS = 10_000
# Members of an enumeration cost a call each time they are named, before Python 3.12.
_ANSWERED = Outcome.ANSWERED
# Whose calls, which upstream, and where it is: at a new address it begins anew.
Key = tuple[str | None, str, str]


@value(kw_only=True)
class CircuitChange:
    """A circuit that opened, opened again after a try, or closed. Times are of the breaker's clock.

    `is_first`: it was closed before. `forgotten_at`: when it counts as closed if nobody tries it.
    """

    owner: str | None
    upstream_id: UUID | None
    slug: str | None
    opened_at: float | None
    retry_at: float
    forgotten_at: float
    is_first: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is open now; else it closed."""
        return self.opened_at is not None


# What `begin` gives for an attempt, and `end` takes back; the number is the circuit's own.
Ticket = tuple[Key, Upstream, int]


def circuit_key(owner: str | None, upstream: Upstream) -> Key:
    """Return what circuits and retry budgets are kept by.

    By owner too: what one tenant sends to a shared upstream says nothing of the calls of others.
    """
    return owner, upstream.key, upstream.url


class Breaker:
    """Lets attempts through, or not, as what became of those before tells. At most `max_circuits` are kept.

    A closed circuit is forgotten when its window is empty, an open one when nobody has tried it for long: memory holds
    what was asked lately, whatever keys there are. `refused` counts calls. `on_change` is told at once; it never waits.
    """

    def __init__(
        self,
        *,
        rules: CircuitRules | None = None,
        max_circuits: int = MAX_CIRCUITS,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance.random,
        on_change: Callable[[CircuitChange], None] | None = None,
    ) -> None:
        self.refused = 0
        self._rules = rules or CircuitRules()
        self._most, self._clock, self._random, self._on_change = max_circuits, clock, random, on_change
        # With when its newest tenth of a window began. (A dict's first one is slow to find once others have gone.)
        self._closed: OrderedDict[Key, tuple[Circuit, float]] = OrderedDict()
        self._open: OrderedDict[Key, tuple[Circuit, float]] = OrderedDict()  # with when it is forgotten

    @property
    def open(self) -> int:
        """Circuits that refuse calls just now."""
        now = self._clock()
        return sum(circuit.refuses(now) for circuit, _ in self._open.values())

    def __len__(self) -> int:
        self._forget(self._clock(), most=self._most)
        return len(self._closed) + len(self._open)

    def is_open(self, owner: str | None, upstream: Upstream) -> bool:
        """Tell whether a call would be refused."""
        now = self._clock()
        circuit = self._open_circuit(circuit_key(owner, upstream), now)
        return circuit is not None and circuit.refuses(now)

    def refusal(self, owner: str | None, upstream: Upstream) -> CallError | None:
        """Return the error of a call that is refused, which counts; None where it may go on."""
        if not self._open:
            return None
        now = self._clock()
        circuit = self._open_circuit(circuit_key(owner, upstream), now)
        if circuit is None or not circuit.refuses(now):
            return None
        self.refused += 1
        return _error(circuit, now)

    def begin(self, owner: str | None, upstream: Upstream) -> Ticket:
        """Return a ticket for one attempt that `refusal` lets go on, to be brought back on every path."""
        key = circuit_key(owner, upstream)
        if self._open and (circuit := self._open_circuit(key, self._clock())):
            return key, upstream, circuit.begin()
        kept = self._closed.get(key)
        return key, upstream, kept[0].ticket if kept else 0

    def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take a ticket back, with what its attempt tells of the upstream."""
        key, upstream, number = ticket
        now, closed = self._clock(), self._closed.get(key)
        if outcome is _ANSWERED and closed and closed[0].count_answer(number, now):
            return
        circuit = self._circuit(key)
        if circuit is None:
            if outcome is Outcome.NOTHING or number:
                return  # nothing to keep; or the circuit has been forgotten meanwhile
            circuit = Circuit(self._rules, self._random)
        was_open = circuit.is_open
        has_changed = circuit.end(number, outcome, now)
        self._keep(key, circuit, upstream, now)
        if has_changed and self._on_change is not None:
            change = CircuitChange(
                owner=key[0],
                upstream_id=upstream.id,
                slug=upstream.slug,
                opened_at=circuit.opened_at,
                retry_at=circuit.retry_at,
                forgotten_at=self._forgotten_at(circuit, upstream),
                is_first=not was_open,
            )
            self._on_change(change)

    def _circuit(self, key: Key) -> Circuit | None:
        if self._open and (circuit := self._open_circuit(key, self._clock())):
            return circuit
        kept = self._closed.get(key)
        return kept[0] if kept else None

    def _open_circuit(self, key: Key, now: float) -> Circuit | None:
        kept = self._open.get(key)
        if kept is None:
            return None
        circuit, forgotten_at = kept
        if now >= forgotten_at:
            del self._open[key]
            return None
        return circuit

    def _keep(self, key: Key, circuit: Circuit, upstream: Upstream, now: float) -> None:
        """Put a circuit behind all others of its kind; those from the longest ago make room."""
        if circuit.is_open:
            self._closed.pop(key, None)
            self._open[key] = circuit, self._forgotten_at(circuit, upstream)
            self._open.move_to_end(key)
        else:
            self._open.pop(key, None)
            self._closed[key] = circuit, now
            self._closed.move_to_end(key)
        self._forget(now, most=2)  # two for each that comes: what is over is soon gone
        for kept in (self._closed, self._open):
            if len(kept) > self._most:
                del kept[next(iter(kept))]

    def _forget(self, now: float, *, most: int) -> None:
        """Forget closed circuits whose window is empty, at most so many; and open ones that are over, at the front."""
        for _ in range(most):
            if not self._forgot(self._closed, now - self._rules.window_s) and not self._forgot(
                self._open, now
            ):
                return

    @staticmethod
    def _forgot(kept: OrderedDict[Key, tuple[Circuit, float]], until: float) -> bool:
        first = next(iter(kept), None)
        if first is None or kept[first][1] > until:
            return False
        del kept[first]
        return True

    def _forgotten_at(self, circuit: Circuit, upstream: Upstream) -> float:
        # A try may take as long as an attempt may: it is not forgotten while it waits.
        return circuit.retry_at + self._rules.idle_s + upstream.timeout_s


def _error(circuit: Circuit, now: float) -> CallError:
    when = (
        "is being tried just now"
        if circuit.is_probed
        else f"is tried again in {circuit.retry_at - now:.1f} s"
    )
    detail = f"The upstream has failed too often of late and was not asked; it {when}."
    return CallError(code=ErrorCode.CIRCUIT_OPEN, status=None, detail=detail)
