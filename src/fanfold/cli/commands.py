"""Every command of `fanfold`. A new one: a file beside this, and one line here."""

from typing import Annotated

import typer

import fanfold
from fanfold.cli import keys, operators, outcomes, secrets, tenants, upstreams, users
from fanfold.cli.demo import demo
from fanfold.cli.doctor import doctor
from fanfold.cli.group import Commands
from fanfold.cli.migrate import migrate
from fanfold.cli.openapi import openapi
from fanfold.cli.output import show
from fanfold.cli.process import process
from fanfold.cli.serve import serve

app = typer.Typer(
    name="fanfold",
    cls=Commands,
    help="Split a long text, fan it out to many APIs, fold the answers. --json makes a result one value on stdout.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(demo)
app.command()(serve)
app.command()(migrate)
app.add_typer(tenants.commands, name="tenants")
app.add_typer(keys.commands, name="keys")
app.add_typer(users.commands, name="users")
app.add_typer(upstreams.commands, name="upstreams")
app.add_typer(outcomes.commands, name="outcomes")
app.add_typer(operators.commands, name="operators")
app.command()(process)
app.command()(doctor)
app.command()(openapi)
app.add_typer(secrets.commands, name="secrets")


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
