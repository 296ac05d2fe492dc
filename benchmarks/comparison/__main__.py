"""`./benchmarks/run`: ours beside its peers in one run, each figure beside its target."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.comparison.facts import facts
from benchmarks.comparison.figures import Measured, Verdict
from benchmarks.comparison.flames import Flame, draw
from benchmarks.comparison.load import Wrong
from benchmarks.comparison.page import write
from benchmarks.comparison.rows.registry import ROWS
from benchmarks.comparison.run import ROOT, measured, stage_of
from benchmarks.comparison.server import NotHere
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.terminal import table_of
from benchmarks.comparison.turns import Pace

QUICK = Pace(seconds=2, rounds=1)
DOCS = ROOT / "docs"


def main(
    *,
    rows: Annotated[str, typer.Option(help="Numbers of rows, such as 1,6,7; all without it.")] = "",
    seconds: Annotated[int, typer.Option(min=1, help="Length of each round.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each contestant.")] = 3,
    peers: Annotated[
        bool, typer.Option(help="Install and measure LiteLLM and Portkey, and draw flame graphs.")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One round each: to see that all runs.")] = False,
    docs: Annotated[
        Path | None, typer.Option(help="Where page and chart go; a whole run's go to docs without it.")
    ] = None,
) -> None:
    """Measure rows against their targets; exits with 1 where one that was measured is missed."""
    numbers = chosen(rows)
    docs = docs.resolve() if docs else DOCS if not rows and not quick else None
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: list[Measured] = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=len(numbers))

        def tell(what: str) -> None:
            progress.update(task, description=what)

        pace = QUICK if quick else Pace(seconds, rounds)
        with stage_of(pace, has_peers=peers, tell=tell) as stage:
            told = [*facts(ROOT, stage.cores), ("rounds", f"{pace.rounds} of {pace.seconds:g} s")]
            progress.console.print(f"{stage.cores}.")
            for row in measured(stage, numbers, tell):
                found.append(row)
                progress.advance(task)
            flames = drawn(stage, docs, progress.console) if docs and peers else ()
    console.print(table_of(found, "Fanfold beside its peers"))
    if docs is not None:
        console.print(f"Written: {write(docs, found, told, flames)}")
    is_missed = any(figure.verdict is Verdict.MISSED for row in found for figure in row.figures)
    raise typer.Exit(1 if is_missed else 0)


def drawn(stage: Stage, docs: Path, console: Console) -> Sequence[Flame]:
    """Draw the flame graphs, or say why there are none."""
    try:
        return draw(stage, docs)
    except (NotHere, Wrong) as reason:
        console.print(f"No flame graphs: {reason}")
        return ()


def chosen(rows: str) -> list[int]:
    """Return the numbers of the rows that were asked for, in order."""
    asked = {int(part) for part in rows.split(",")} if rows else set(ROWS)
    if unknown := asked - set(ROWS):
        raise typer.BadParameter(f"There is no row {', '.join(map(str, sorted(unknown)))}.")
    return sorted(asked)


if __name__ == "__main__":
    typer.run(main)
