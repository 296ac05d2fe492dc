"""`fanfold worker`."""

import asyncio
from typing import Annotated

import typer
import uvloop

from fanfold.core.config import Settings, export
from fanfold.worker import run_worker


def worker(
    concurrency: Annotated[
        int | None, typer.Option(min=2, help="Jobs that it works on at once (FANFOLD_JOBS_CONCURRENCY).")
    ] = None,
) -> None:
    """Work on jobs, without HTTP, until SIGTERM or Ctrl-C."""
    if concurrency is not None:
        export(JOBS_CONCURRENCY=concurrency)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(Settings()))
