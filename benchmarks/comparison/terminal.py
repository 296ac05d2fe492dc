"""The table in the terminal."""

from collections.abc import Iterable

from rich.table import Table

from benchmarks.comparison.figures import Measured, Verdict

_COLOURS = {
    Verdict.AIM: "bold green",
    Verdict.MET: "green",
    Verdict.MISSED: "bold red",
    Verdict.REPORTED: "dim",
    Verdict.NOT_HERE: "yellow",
}


def table_of(rows: Iterable[Measured], title: str) -> Table:
    """Return the table to print."""
    table = Table(title=title, show_lines=False)
    table.add_column("#", justify="right")
    table.add_column("measured", ratio=3)
    for heading in ("figure", "at least", "aim"):
        table.add_column(heading, justify="right", no_wrap=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("behind it", ratio=4)
    for row in rows:
        for place, figure in enumerate(row.figures):
            number, title = (str(row.number), row.title) if place == 0 else ("", "")
            verdict = f"[{_COLOURS[figure.verdict]}]{figure.verdict}[/]"
            named = f"{figure.label} [bold]{figure.shown(figure.value)}[/]"
            table.add_row(
                number,
                title,
                named,
                *figure.bounds(),
                verdict,
                figure.detail,
                end_section=figure is row.figures[-1],
            )
    return table
