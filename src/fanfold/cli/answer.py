"""A process answer for people: the folded text, a line for each chunk, the bill."""

import json
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

SHOWN_OF_RESULT = 120


def show_answer(answer: dict[str, Any], console: Console) -> None:
    """Print an answer of `POST /v1/process`."""
    if answer["output"] is not None:
        console.print(Panel(Text(_text(answer["output"])), title="Folded answer", title_align="left"))
    console.print(_chunks(answer["results"]))
    usage = answer["usage"]
    remaining = usage["quota_remaining"]
    console.print(
        f"{answer['status']}: {answer['successful']} of {answer['total']} chunks, {usage['characters']} characters, "
        f"[bold]{usage['units']} units[/bold] billed, {'no ceiling' if remaining is None else f'{remaining} left'}."
    )


def _chunks(results: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    for name in ("chunk", "from", "to", "attempts", "ms", "units"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("upstream", no_wrap=True)
    table.add_column("result", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in results:
        numbers = (
            each["index"],
            each["start"],
            each["end"],
            each["attempts"],
            round(each["latency_ms"]),
            each["units"],
        )
        table.add_row(*map(str, numbers), Text(each["upstream"] or each["url"] or ""), _outcome(each))
    return table


def _outcome(result: dict[str, Any]) -> Text:
    if result["success"]:
        return Text(_text(result["result"]).replace("\n", " ")[:SHOWN_OF_RESULT])
    return Text(f"{result['error']['code']}: {result['error']['detail']}", style="red")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
