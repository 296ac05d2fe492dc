"""The chart: bars on a logarithmic scale, as SVG by hand; readable on light and on dark pages."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.comparison.figures import Figure, Measured, Verdict, number

WIDTH, LABELS, VALUES = 900, 300, 90
LINE, HEAD = 22, 46
OWN, OTHER, MISSED = "own", "other", "missed"
_STYLE = """
svg { font: 13px system-ui, sans-serif; --text: #1f2328; --faint: #8c959f; --own: #1a7f37; --other: #8c959f;
  --missed: #bc4c00; }
@media (prefers-color-scheme: dark) { svg { --text: #e6edf3; --faint: #7d8590; --own: #3fb950; --other: #6e7681;
  --missed: #db6d28; } }
text { fill: var(--text); } .title { font-weight: 600; } .faint { fill: var(--faint); }
.own { fill: var(--own); } .other { fill: var(--other); } .missed { fill: var(--missed); }
line { stroke: var(--text); } line.aim { stroke-dasharray: 3 3; }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, its value as written, and where its aim is on the same scale."""

    label: str
    value: float
    shown: str
    kind: str = OTHER
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars on one scale; `mark` is a value that all of them stand to."""

    title: str
    bars: Sequence[Bar]
    mark: float | None = None


def panels(rows: Sequence[Measured]) -> list[Panel]:
    """Return what there is to draw: contestants' rates where there are some, then all figures over their targets."""
    drawn = [_rates(figure) for row in rows for figure in row.figures if figure.drawn_as]
    bars = [bar for row in rows for figure in row.figures if (bar := _over_target(row.number, figure))]
    return [
        *drawn,
        Panel(
            "every figure over what it must be at least (the line), logarithmic; dashed: its aim", bars, 1.0
        ),
    ]


def _rates(figure: Figure) -> Panel:
    ordered = sorted(figure.rates.items(), key=lambda item: -item[1])
    bars = [
        Bar(name, rate, number(rate), OWN if name == "fanfold" else OTHER) for name, rate in ordered if rate
    ]
    return Panel(f"{figure.drawn_as}: requests a second, logarithmic", bars)


def _over_target(row: int, figure: Figure) -> Bar | None:
    target = figure.target
    if target is None or target.at_least is None or not figure.value or figure.value < 0:
        return None
    scores = [value / target.at_least for value in (figure.value, target.aim)]
    score, aim = (1 / each for each in scores) if target.is_ceiling else scores
    kind = MISSED if figure.verdict is Verdict.MISSED else OWN
    return Bar(f"{row} · {figure.label}", score, figure.shown(figure.value), kind, aim)


def svg(drawn: Sequence[Panel]) -> str:
    """Draw panels one below the other."""
    top, parts = 0, []
    for panel in drawn:
        if panel.bars:
            parts.append(f'<g transform="translate(0 {top})">{_panel(panel)}</g>')
            top += HEAD + LINE * len(panel.bars)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 10}" width="{WIDTH}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _panel(panel: Panel) -> str:
    marks = [panel.mark] if panel.mark else []
    aims = [bar.aim for bar in panel.bars if bar.aim]
    values = [*(bar.value for bar in panel.bars), *marks, *aims]
    low, high = min(values) / 1.5, max(values)
    span = math.log(high / low)

    def x(value: float) -> float:
        return LABELS + (WIDTH - LABELS - VALUES) * math.log(value / low) / span

    parts = [f'<text class="title" x="4" y="26">{escape(panel.title)}</text>']
    for place, bar in enumerate(panel.bars):
        parts.append(_bar(bar, HEAD + LINE * place - 6, x))
    if panel.mark:
        parts.append(_line(x(panel.mark), HEAD - 8, HEAD + LINE * len(panel.bars) - 8))
    return "".join(parts)


def _bar(bar: Bar, y: float, x: Callable[[float], float]) -> str:
    end = max(x(bar.value), LABELS + 1)
    aim = _line(x(bar.aim), y, y + LINE - 6, "aim") if bar.aim else ""
    return (
        f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="{bar.kind}" x="{LABELS}" y="{y}" width="{end - LABELS:.1f}" height="{LINE - 6}" rx="2"/>'
        f'{aim}<text x="{WIDTH - 4}" y="{y + 12}" text-anchor="end">{escape(bar.shown)}</text>'
    )


def _line(x: float, top: float, bottom: float, kind: str = "mark") -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
