"""The root command: takes `--json` anywhere, and turns every foreseen error into one line and an exit code."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from fanfold.cli.commands import add, wanted
from fanfold.cli.help_texts import complete
from fanfold.cli.output import show_error, use_json
from fanfold.core.lazily import on_call

# For who fails alone: it knows the errors of the database's libraries.
explain = on_call("fanfold.core.startup", "explain")

JSON_OPTION = "--json"
END_OF_OPTIONS = "--"


class Commands(TyperGroup):
    """Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command line and exit."""
        given, as_json = without_json(list(sys.argv[1:] if args is None else args))
        use_json(wanted=as_json)
        add(self, wanted(given))
        complete(self)
        sys.exit(self._run(given or ["--help"], *rest, **extra | {"standalone_mode": False}))

    def _run(self, *given: Any, **extra: Any) -> int:
        try:
            return super().main(*given, **extra) or 0
        except typer.TyperException as error:
            show_error(error.format_message())
            return error.exit_code
        except typer.Abort:
            return 130
        except Exception as error:  # noqa: BLE001 - the edge of the program: what nobody foresaw is raised again
            return _reported(error)


def _reported(error: Exception) -> int:
    """Say what is wrong, where that is known; a task group's only error stands for the group."""
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    text: str | None = cause.message if isinstance(cause, typer.TyperException) else explain(cause)
    if text is None:
        raise error
    show_error(text)
    return 1


def without_json(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--json` out of the arguments, wherever it stands before `--`; tell whether it was there."""
    end = arguments.index(END_OF_OPTIONS) if END_OF_OPTIONS in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != JSON_OPTION]
    return options + arguments[end:], len(options) < end
