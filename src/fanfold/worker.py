"""The same resources without HTTP: a process that works on jobs."""

import asyncio
import signal

from fanfold.core.config import Settings
from fanfold.core.garbage import seldom_collected
from fanfold.core.telemetry.exposition import Exposition
from fanfold.core.telemetry.logging import configure_logging, get_logger
from fanfold.core.telemetry.metrics import Metrics
from fanfold.jobs.service import Stop
from fanfold.operation import observed
from fanfold.resources import open_resources
from fanfold.working import working

_log = get_logger(__name__)


async def run_worker(settings: Settings) -> None:
    """Work on jobs until SIGTERM or Ctrl-C: then what runs may end for `drain_s`; a second signal breaks it off."""
    stop = Stop(grace_s=settings.server.drain_s)
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.begun.is_set():
            stop.hurry.set()
        stop.begun.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)
    logs = configure_logging(settings)
    metrics = Metrics()
    try:
        async with (
            open_resources(settings) as resources,
            observed(resources, metrics, Exposition(metrics)),
            working(resources, metrics, stop, processes=1),
        ):
            _log.info("Working on jobs.")
            with seldom_collected():
                await stop.begun.wait()
            _log.info("Stopping: jobs leave with the part they are at.")
    finally:
        logs.close()
