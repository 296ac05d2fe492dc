"""Every command of `fanfold`. A new one: a file beside this that bears its name, and its name here.

A command line imports the file of its own command alone: that is most of what it takes to start.
"""

from collections.abc import Sequence
from importlib import import_module

import typer
from typer.core import TyperGroup

from fanfold.core.garbage import uncollected
from fanfold.core.lazily import on_call

# With Pydantic, which no line needs but those of commands.
models_built_late = on_call("fanfold.core.late_models", "built_late")

COMMANDS = (
    "demo",
    "serve",
    "worker",
    "migrate",
    "tenants",
    "keys",
    "users",
    "upstreams",
    "outcomes",
    "jobs",
    "operators",
    "process",
    "doctor",
    "openapi",
    "secrets",
)


def wanted(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that a line names first; all of them, for help and for what is misspelt."""
    first = next((each for each in arguments if not each.startswith("-")), None)
    if first is None and "--version" in arguments:
        return ()
    return (first,) if first in COMMANDS else COMMANDS


def add(group: TyperGroup, names: Sequence[str]) -> None:
    """Import commands into a group; a file holds either one, as a function of its name, or several, as `commands`."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    for name in names:
        with uncollected(), models_built_late():
            module = import_module(f"fanfold.cli.{name}")
        if hasattr(module, "commands"):
            app.add_typer(module.commands, name=name)
        else:
            app.command(name)(getattr(module, name))
    added = typer.main.get_group(app).commands
    group.commands.update({name: added[name] for name in names})
