"""What a row says: figures beside their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a figure stands to its target."""

    AIM = "aim met"
    MET = "met"
    MISSED = "not met"
    REPORTED = "reported"
    NOT_HERE = "not here"


@dataclass(frozen=True, slots=True)
class Target:
    """The least that must be (None: nothing), and what is aimed at; `is_ceiling`: less is better."""

    at_least: float | None
    aim: float
    is_ceiling: bool = False

    def verdict(self, value: float) -> Verdict:
        """Judge a value."""
        if self._holds(value, self.aim):
            return Verdict.AIM
        if self.at_least is None:
            return Verdict.REPORTED
        return Verdict.MET if self._holds(value, self.at_least) else Verdict.MISSED

    def _holds(self, value: float, bound: float) -> bool:
        return value <= bound if self.is_ceiling else value >= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value. No value: `detail` says why.

    `rates` are contestants' requests a second; the chart shows them under the title `drawn_as`. `absolute` stands
    beside what articles of others say.
    """

    label: str
    value: float | None
    unit: str = "×"
    target: Target | None = None
    detail: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    drawn_as: str = ""
    absolute: str = ""

    @property
    def verdict(self) -> Verdict:
        """How it stands to its target."""
        if self.value is None:
            return Verdict.NOT_HERE
        return self.target.verdict(self.value) if self.target else Verdict.REPORTED

    def shown(self, value: float | None) -> str:
        """Write a value with the unit of this figure."""
        return "–" if value is None else self._with_unit(number(value))

    def bounds(self) -> tuple[str, str]:
        """Write what must be at least, and what is aimed at."""
        if self.target is None:
            return "report", "report"
        sign = "≤ " if self.target.is_ceiling else ""
        at_least, aim = (
            "–" if bound is None else self._with_unit(f"{sign}{bound:,g}")
            for bound in (self.target.at_least, self.target.aim)
        )
        return at_least, aim

    def _with_unit(self, written: str) -> str:
        return f"{written}{'' if self.unit == '%' else ' '}{self.unit}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the table, as it was measured."""

    number: int
    title: str
    figures: Sequence[Figure]


def number(value: float) -> str:
    """Write three significant digits, thousands with commas."""
    size = abs(value)
    for bound, places in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if size >= bound:
            return f"{value:,.{places}f}"
    return f"{value:.3g}"
