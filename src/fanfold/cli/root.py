"""`fanfold` itself: what stands before a command."""

from typing import Annotated

import typer

import fanfold
from fanfold.cli.group import Commands
from fanfold.cli.output import show

app = typer.Typer(
    name="fanfold",
    cls=Commands,
    help="Split a long text, fan it out to many APIs, fold the answers. --json makes a result one value on stdout.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 (called by typer)
    if wanted:
        show({"version": fanfold.__version__}, lambda _: typer.echo(fanfold.__version__))
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Split a long text, fan it out to many APIs at once, fold the answers into one.

    With --json, anywhere in the line, every command that prints a result prints it as one JSON value.
    """
