"""`fanfold demo`: the whole product once through, on this machine alone."""

import asyncio
import json
import shlex
import signal
from ipaddress import ip_network
from typing import Annotated, Any

import httpx
import typer
import uvicorn
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fanfold.cli.answer import show_answer
from fanfold.cli.output import Refused, show, stderr
from fanfold.core.config import Settings
from fanfold.core.migrations import migrate
from fanfold.core.startup import explain_port
from fanfold.core.values import value
from fanfold.demo.clock import age_s
from fanfold.demo.sample import sample_text
from fanfold.demo.servers import Counted, address_of, listen, serving
from fanfold.demo.tenant import DemoTools, prepare
from fanfold.demo.upstream import create_demo_upstream
from fanfold.main import create_app

LOOPBACK = ip_network("127.0.0.0/8")
ASKED: dict[str, Any] = {
    "split": {"by": "paragraphs", "size": 1200},
    "fold": {"by": "concat", "separator": "\n\n"},
}
TRY_THIS = "Many hands make light work. One text is cut into chunks. Each goes to another pair of hands."
HAS_ENDED = (
    "The server has ended, so key, docs and curl line answer no more: without --once it goes on serving."
)
ANSWER_WITHIN_S = 130.0
_POLL_S = 0.05


@value
class Demo:
    """The running demo: where it listens, its key, and its AI server's counter."""

    address: str
    key: str
    upstream: Counted
    ready_after_s: float


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the answer.")] = False,
) -> None:
    """Start a server with a demo tenant and a demo AI upstream, process a sample text, then serve until Ctrl-C."""
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            runner.run(_demo(demo_settings(Settings()), once=once))
        except asyncio.CancelledError:
            stderr().print("Stopped.")


def demo_settings(settings: Settings) -> Settings:
    """Return the settings with what the demo alone may do: loopback upstreams, and addresses in requests."""
    networks = [*settings.fan_out.upstream_allowed_networks, LOOPBACK]
    fan_out = settings.fan_out.model_copy(
        update={"adhoc_upstreams": True, "upstream_allowed_networks": networks}
    )
    telemetry = settings.telemetry
    if "log_level" not in telemetry.model_fields_set:  # the terminal is for the demo
        telemetry = telemetry.model_copy(update={"log_level": "WARNING"})
    return settings.model_copy(update={"fan_out": fan_out, "telemetry": telemetry})


async def _demo(settings: Settings, *, once: bool) -> None:
    _cancel_on_signals()
    host, port = settings.server.host, settings.server.port
    try:
        listener = listen(host, port)
    except OSError as error:
        raise Refused(explain_port(host, port, error)) from None
    upstream_listener = listen("127.0.0.1", 0)
    upstream = Counted(create_demo_upstream())
    with listener, upstream_listener:
        await _migrate_own_server(settings)
        app = create_app(settings)
        async with (
            serving(upstream, upstream_listener),
            app.router.lifespan_context(app),
            serving(app, listener),
        ):
            state = app.state
            tools = DemoTools(state.database, state.key_ring, state.address_guard)
            key = await prepare(tools, address_of(upstream_listener))
            await _tell(Demo(address_of(listener), key, upstream, age_s()))
            if not once:
                stderr().print("Serving. Ctrl-C stops it.", style="bold")
                await asyncio.Event().wait()
    stderr().print(HAS_ENDED, style="bold", soft_wrap=True)


def _cancel_on_signals() -> None:
    task = asyncio.current_task()
    for kind in (signal.SIGINT, signal.SIGTERM):
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(kind, task.cancel)


async def _migrate_own_server(settings: Settings) -> None:
    owner, serving_login = settings.database.owner_url, settings.database.url
    if owner is not None and serving_login is not None:
        app_url = serving_login.get_secret_value()
        await asyncio.to_thread(migrate, owner.get_secret_value(), app_url=app_url)


async def _tell(running: Demo) -> None:
    stderr().print(
        f"Fanfold is ready on {running.address} after {running.ready_after_s:.1f} s.", style="bold"
    )
    headers = {"Authorization": f"Bearer {running.key}"}
    async with httpx.AsyncClient(
        base_url=running.address, headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False
    ) as http:
        answer = await _ask(http, running.upstream)
    curl, docs = curl_line(running.address, running.key), f"{running.address}/docs"
    value = {
        "url": running.address,
        "docs": docs,
        "key": running.key,
        "curl": curl,
        "ready_after_s": round(running.ready_after_s, 2),
        "answer": answer,
    }

    def human(console: Console) -> None:
        show_answer(answer, console)
        console.print(f"\n[bold]API key[/bold]  {running.key}", soft_wrap=True)
        console.print("         It holds until the demo is run again.", style="dim")
        console.print(f"[bold]Docs[/bold]     {docs}", soft_wrap=True)
        console.print("[bold]Try[/bold]     ", Text(curl), soft_wrap=True)
        console.print(
            "[bold]Set[/bold]     ", Text(export_line(running.address, running.key)), soft_wrap=True
        )

    show(value, human)


async def _ask(http: httpx.AsyncClient, upstream: Counted) -> dict[str, Any]:
    wanted = {"text": sample_text(), **ASKED}
    quote = _successful(await http.post("/v1/process/quote", json=wanted))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr()) as progress:
        what = f"{len(wanted['text'])} characters, at most {quote['units_max']} units"
        shown = progress.add_task(what, total=len(quote["chunks"]))
        before = upstream.answers
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(http.post("/v1/process", json=wanted))
            while not asking.done():
                progress.update(shown, completed=upstream.answers - before)
                await asyncio.wait({asking}, timeout=_POLL_S)
        progress.update(shown, completed=upstream.answers - before)
    return _successful(asking.result())


def _successful(response: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = response.json()
    if not response.is_success:
        raise Refused(f"The server answered {response.status_code}: {content.get('detail')}")
    return content


def export_line(address: str, key: str) -> str:
    """Return a line for the shell after which `fanfold process` and the examples find this server."""
    return f"export FANFOLD_URL={shlex.quote(address)} FANFOLD_API_KEY={shlex.quote(key)}"


def curl_line(address: str, key: str) -> str:
    """Return a line for the shell that processes a short text."""
    body = {"text": TRY_THIS, "split": {"by": "sentences", "size": 60}, "fold": {"by": "concat"}}
    return shlex.join(
        [
            "curl",
            f"{address}/v1/process",
            "-H",
            f"Authorization: Bearer {key}",
            "-H",
            "Content-Type: application/json",
            "-d",
            json.dumps(body),
        ]
    )
