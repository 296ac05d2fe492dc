"""What `--help` shows beyond what each command says: placeholders as people write them, and `--json`."""

from collections.abc import Iterator

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

JSON_HELP = "Print the result as one JSON value on standard output."
WITHOUT_RESULT = {"serve", "worker"}


def complete(group: TyperGroup) -> None:
    """Give every command under `group` its placeholders, and `--json` where it prints a result."""
    json_option = _like(next(each for each in group.params if isinstance(each, TyperOption) and each.is_flag))
    for command in _commands(group):
        for parameter in command.params:
            if parameter.metavar is None:
                parameter.metavar = _placeholder(parameter)
        if command.name not in WITHOUT_RESULT and not any("--json" in each.opts for each in command.params):
            # Seen by `--help` alone: Commands takes it out of the arguments before they are read.
            command.params.append(json_option)


def _commands(group: TyperGroup) -> Iterator[TyperCommand]:
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            yield from _commands(command)
        elif isinstance(command, TyperCommand):
            yield command


def _placeholder(parameter: object) -> str | None:
    if isinstance(parameter, TyperArgument):
        return (parameter.name or "").upper()
    if not isinstance(parameter, TyperOption) or parameter.is_flag:
        return None
    return "NUMBER" if parameter.type_descriptor.annotation is int else "TEXT"


def _like(flag: TyperOption) -> TyperOption:
    return TyperOption(
        param_decls=["--json"],
        type_descriptor=flag.type_descriptor,
        is_flag=True,
        default=False,
        expose_value=False,
        help=JSON_HELP,
    )
