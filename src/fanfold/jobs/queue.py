"""The queue of turns, with pgqueuer as its engine: any number of processes take turns from one table of Postgres."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel

from fanfold.core.db import SCHEMA, Connect
from fanfold.core.errors import NotReady
from fanfold.core.telemetry.logging import get_logger
from fanfold.jobs.queue_driver import QueueDriver

ENTRYPOINT = "fanfold.turn"
CHANNEL = Channel("ch_pgqueuer")
# pgqueuer wants room for two batches.
LEAST_AT_ONCE = 2

_POLL = timedelta(seconds=1)
_AGAIN = timedelta(seconds=1)
_PAUSE_S = 1.0

_log = get_logger(__name__)

OnTurn = Callable[[int, UUID], Awaitable[None]]


class TurnQueue:
    """Takes turns until `stop`: `on_turn(queue id, tenant)` is run for each, at most `at_once` of them together.

    Whoever has not been heard of for `silence_s` has lost its turns to others. A turn that raises `NotReady` comes
    again; it must raise nothing else.
    """

    def __init__(self, connect: Connect, on_turn: OnTurn, *, at_once: int, silence_s: float) -> None:
        self._driver = QueueDriver(connect)
        self._on_turn = on_turn
        self._at_once, self._silence = max(LEAST_AT_ONCE, at_once), timedelta(seconds=silence_s)
        self._manager: QueueManager | None = None
        self._is_stopping = False

    @property
    def losses(self) -> int:
        """How often the queue's connection was lost."""
        return self._driver.losses

    async def run(self) -> None:
        """Take turns until `stop`, then wait for those that run."""
        try:
            while not self._is_stopping:
                await self._run_once()
        finally:
            await self._driver.close()

    def stop(self) -> None:
        """Take no further turn."""
        self._is_stopping = True
        if self._manager is not None:
            self._manager.shutdown.set()

    async def _run_once(self) -> None:
        self._manager = manager = _manager(self._driver)
        manager.entrypoint(ENTRYPOINT, on_failure="hold", accepts_context=False)(self._turn)
        try:
            await manager.run(
                dequeue_timeout=_POLL,
                batch_size=self._at_once // 2,
                max_concurrent_tasks=self._at_once,
                heartbeat_timeout=self._silence,
                log_aggregation_interval=timedelta(0),
            )
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of the queue may end the process
            _log.error("The jobs' queue failed; it begins anew.", error=type(error).__name__)
            await asyncio.sleep(_PAUSE_S)

    async def _turn(self, job: Job) -> None:
        try:
            await self._on_turn(job.id, UUID((job.payload or b"").decode()))
        except NotReady:
            raise RetryRequested(delay=_AGAIN, reason="not ready") from None


def _manager(driver: QueueDriver) -> QueueManager:
    settings = _settings()
    queries = Queries(
        driver,
        qbe=QueryBuilderEnvironment(settings),
        qbq=QueryQueueBuilder(settings),
        qbs=QuerySchedulerBuilder(settings),
    )
    return QueueManager(queries, channel=CHANNEL)


def _settings() -> DBSettings:
    # Not made in the usual way: that reads the environment, where PGQUEUER_ variables may be another product's.
    return DBSettings.model_construct(
        prefix="",
        db_schema=SCHEMA,
        channel=CHANNEL,
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=False,
    )
