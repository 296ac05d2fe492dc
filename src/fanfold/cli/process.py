"""`fanfold process`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fanfold.cli.answer import show_answer
from fanfold.cli.output import Refused, show, stderr
from fanfold.core.config import ClientSettings, Settings

LONGEST_WAIT_S = 930.0  # the longest deadline of a request, and time to settle
STANDARD_INPUT = Path("-")


def process(  # noqa: PLR0913 (one argument for each option)
    file: Annotated[Path, typer.Argument(help="The text, in UTF-8; `-` is standard input.")],
    *,
    url: Annotated[str | None, typer.Option(help="The server (FANFOLD_URL).")] = None,
    key: Annotated[str | None, typer.Option(help="The API key; better in FANFOLD_API_KEY.")] = None,
    split: Annotated[str | None, typer.Option(help="How to cut: characters, words, sentences, ...")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Size of a chunk.")] = None,
    overlap: Annotated[int | None, typer.Option(min=0, help="Overlap of chunks.")] = None,
    upstream: Annotated[list[str] | None, typer.Option(help="An upstream's slug; repeatable.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="round_robin, weighted, least_busy, fallback or broadcast.")
    ] = None,
    fold: Annotated[str | None, typer.Option(help="list or concat.")] = "concat",
) -> None:
    """Send a text to a running server and show the folded answer."""
    client = ClientSettings()
    credential = key or (client.api_key.get_secret_value() if client.api_key else None)
    if credential is None:
        raise Refused("No API key: give --key, or set FANFOLD_API_KEY. `fanfold keys create` makes one.")
    address = url or client.url or f"http://127.0.0.1:{Settings().server.port}"
    wanted = {
        "text": _read(file),
        "split": _given({"by": split, "size": size, "overlap": overlap}),
        "upstreams": upstream,
        "strategy": strategy,
        "fold": _given({"by": fold}),
    }
    answer = _post(address.rstrip("/"), credential, _given(wanted) or {})
    show(answer, lambda console: show_answer(answer, console))
    if answer["status"] == "failed":
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(f"{file} is not UTF-8 text.") from None
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from None


def _given(members: dict[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in members.items() if value is not None} or None


def _post(address: str, key: str, wanted: dict[str, Any]) -> dict[str, Any]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    headers = {"Authorization": f"Bearer {key}"}
    console = stderr()
    # Elsewhere than on a terminal its end would be an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(f"{len(wanted['text'])} characters, {address}")
        try:
            response = httpx.post(
                f"{address}/v1/process", json=wanted, headers=headers, timeout=LONGEST_WAIT_S, trust_env=False
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Refused(
                f"No answer from {address} ({type(error).__name__}). Start a server with `fanfold serve`, or name one "
                "with --url."
            ) from None
    return _answer(response)


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refused(f"The server answered {response.status_code}, but not as Fanfold does. Check --url.")
    if response.is_success:
        return content
    where = "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in content.get("errors", [])
    )
    raise Refused(f"{content.get('title')} ({response.status_code}): {content.get('detail')} {where}".strip())
