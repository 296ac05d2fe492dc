"""A small app that several workers serve; see test_workers.py."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fanfold.core.telemetry.exposition import Exposition, metrics_router
from fanfold.core.telemetry.metrics import Metrics
from fanfold.core.telemetry.middleware import TelemetryMiddleware

metrics = Metrics()
exposition = Exposition(metrics)
dropped = 0


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    metrics.watch("fanfold_log_dropped_total", lambda: dropped)
    metrics.watch("fanfold_offload_running", lambda: 10)
    publishing = asyncio.create_task(metrics.publish(interval_s=0.05))
    yield
    publishing.cancel()


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(TelemetryMiddleware, metrics=metrics)
metrics_router(exposition, is_operator=lambda _: False).put_into(app)


@app.get("/pid/{_turn}")
async def pid(_turn: int) -> int:
    global dropped  # noqa: PLW0603 (a number that lives elsewhere, as in the product)
    dropped += 1
    metrics.count("fanfold_fan_out_calls_total", "ok", amount=2)
    return os.getpid()
