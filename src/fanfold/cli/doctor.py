"""`fanfold doctor`."""

from collections.abc import Iterator
from typing import Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from fanfold.cli.checks import Finding, findings
from fanfold.cli.output import show
from fanfold.core.config import Origin, Settings, origins
from fanfold.core.secret_keys import are_kept_in_file, key_file

MASK = "********"


def doctor() -> None:
    """Show the settings with their source, and check what a server needs; exit code 1 if something is wrong."""
    settings = Settings()
    shown = [_shown(each, settings) for each in origins(settings)]
    found = list(findings(settings))
    is_well = all(finding.ok for finding in found)
    checks = [
        {"name": each.name, "ok": each.ok, "detail": each.detail, "remedy": each.remedy} for each in found
    ]
    show({"ok": is_well, "settings": shown, "checks": checks}, lambda console: _human(console, shown, found))
    if not is_well:
        raise typer.Exit(1)


def _shown(origin: Origin, settings: Settings) -> dict[str, Any]:
    if origin.name == "FANFOLD_SECRET_KEYS" and are_kept_in_file(settings):
        return {"name": origin.name, "value": [MASK], "source": str(key_file(settings))}
    return {"name": origin.name, "value": masked(origin), "source": origin.source}


def masked(origin: Origin) -> Any:
    """Return a setting's value as it may be shown: of an address all but its password, of a secret nothing."""
    value = origin.value
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value()) if origin.name.endswith("DATABASE_URL") else MASK
    if isinstance(value, list):
        return [MASK if isinstance(each, SecretStr) else str(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _without_password(address: str) -> str:
    try:
        url = make_url(address)
    except ArgumentError:
        return MASK
    # A query may hold a password too (`?password=`), so of it nothing is shown.
    return url.set(query={}).render_as_string(hide_password=True)


def _human(console: Console, settings: list[dict[str, Any]], found: list[Finding]) -> None:
    table = Table("setting", "value", "source", box=None, header_style="bold", pad_edge=False)
    for each in settings:
        style = "dim" if each["source"] == "default" else ""
        table.add_row(Text(each["name"]), Text(as_written(each["value"])), Text(each["source"]), style=style)
    console.print(table, "")
    console.print(*_lines(found), sep="\n", soft_wrap=True)


def as_written(value: Any) -> str:
    """Return a value as `.env` would hold it; what is not set is empty."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _lines(found: list[Finding]) -> Iterator[Text]:
    for each in found:
        mark = _mark(each)
        yield mark + Text(f"{each.name}: {each.detail}")
        if each.remedy:
            yield Text(f"      {each.remedy}", style="yellow")


def _mark(finding: Finding) -> Text:
    if not finding.ok:
        return Text("wrong ", style="bold red")
    return Text("warn  ", style="yellow") if finding.remedy else Text("ok    ", style="green")
