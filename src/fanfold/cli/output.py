"""What a command prints: one value on standard output, everything else on standard error."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import typer

from fanfold.core.lazily import on_call

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
else:
    # Of a server that prints no table, and keeps what it has imported for as long as it lives.
    Console = on_call("rich.console", "Console")
    Table = on_call("rich.table", "Table")
    Text = on_call("rich.text", "Text")

WIDTH_OF_PIPES = 160

_as_json: ContextVar[bool] = ContextVar("as_json", default=False)


class Refused(typer.TyperException):
    """The command cannot do what it was asked; the message says what to do instead. Exit code 1."""


def use_json(*, wanted: bool) -> None:
    """Choose for this run between JSON and what people like to read."""
    _as_json.set(wanted)


def is_json() -> bool:
    """Whether `--json` was given."""
    return _as_json.get()


def stdout() -> "Console":
    """Return standard output as it is now; a pipe is wide, so that nothing is cut off for whoever reads it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_PIPES)


def stderr() -> "Console":
    """Return standard error as it is now, for progress and remarks."""
    return Console(stderr=True, highlight=False)


def show(value: Any, human: "Callable[[Console], None]") -> None:
    """Print the command's one value: as JSON, or through `human`."""
    if is_json():
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        human(stdout())


def show_members(value: Mapping[str, Any], *, note: str | None = None) -> None:
    """Print an object, for people one member a line; `note` goes to standard error."""

    def human(console: "Console") -> None:
        width = max(map(len, value))
        for name, member in value.items():
            console.print(Text(f"{name:<{width}}  ", style="dim") + Text(_plain(member)), soft_wrap=True)
        if note is not None:
            stderr().print(Text(note, style="yellow"), soft_wrap=True)

    show(dict(value), human)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Print a list: as JSON whole, for people as a table of some columns."""
    names = list(columns)

    def human(console: "Console") -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_plain(row[name])) for name in names))
        console.print(table if rows else Text("none", style="dim"))

    show([dict(row) for row in rows], human)


def show_error(text: str) -> None:
    """Say in one line what is wrong; under `--json` also as the one value."""
    if is_json():
        typer.echo(json.dumps({"error": text}, ensure_ascii=False))
    stderr().print(Text("Error: ", style="bold red") + Text(text), soft_wrap=True)


def _plain(member: Any) -> str:
    return member if isinstance(member, str) else json.dumps(member, ensure_ascii=False)
