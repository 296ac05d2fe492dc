"""Our own endpoint without its duties: what row 9 measures them against.

It reads strictly, validates, plans, fans out, watches for a client that leaves and encodes the answer, all by the
product's own code. It leaves out: authentication, both rate limits, the limit of concurrent requests, the tenant's own
upstreams, reserve and settle, usage events, metrics, logs, and every middleware. Nobody could run it as a product.

uvicorn benchmarks.comparison.applications.alone:app
"""

from contextlib import AsyncExitStack
from datetime import date
from ipaddress import ip_network
from uuid import UUID

from starlette.datastructures import State
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fanfold.auth.principal import PrincipalTenant
from fanfold.core.config import Settings
from fanfold.core.disconnect import cancelled_when_client_leaves
from fanfold.core.identifiers import uuid7
from fanfold.core.offload import Offload
from fanfold.core.piecewise import PiecewiseResponse
from fanfold.core.requests import JsonRequest
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import transport
from fanfold.processing.encoding import encode_answer
from fanfold.processing.engine_request import engine_request
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy, select_upstreams
from fanfold.processing.types import Admission, Billed, Processed
from fanfold.tenants.limits import Limits
from fanfold.tenants.periods import Period
from fanfold.upstreams.directory import TenantUpstreams
from fanfold.usage.types import Outcome, Reservation, Settled

ANYBODY = PrincipalTenant(
    id=UUID(int=1),
    slug="anybody",
    status="active",
    limits=Limits(
        monthly_units=0,
        requests_per_minute=0,
        burst=0,
        max_concurrent_requests=0,
        max_text_chars=20_000_000,
        max_chunks=50_000,
        max_upstreams=0,
        max_api_keys=0,
        overage_allowed=True,
        retention_days=0,
        weight=1,
        max_stored_bytes=0,
    ),
    period=Period.MONTH,
)
NOTHING_HELD = Reservation(tenant_id=ANYBODY.id, request_id=UUID(int=2), period_start=date.min, units=0)
NOTHING_BILLED = Billed(Settled(Outcome.RELEASED, None), 0, None)
NO_UPSTREAMS = TenantUpstreams(enabled=(), default=None)
LOOPBACK = ip_network("127.0.0.0/8")
MAX_CONNECTIONS = 4_000


class Alone:
    """The endpoint as an ASGI application: every POST is a process request."""

    def __init__(self) -> None:
        self._settings = Settings()
        guard = AddressGuard([LOOPBACK], ports=self._settings.fan_out.ports)
        self._addresses = AddressPolicy(guard, adhoc_allowed=True)
        self._fan_out: FanOut | None = None
        self.state = State()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["method"] != "POST":
            await Response(status_code=204)(scope, receive, send)  # it is up
            return
        scope["app"] = self
        request = JsonRequest(scope, receive)
        await request.load(self._settings.server)
        body = ProcessRequest.model_validate(await request.json())
        async with cancelled_when_client_leaves(request):
            response = PiecewiseResponse(
                await encode_answer(await self._processed(body)), media_type="application/json"
            )
        await response(scope, receive, send)

    async def _processed(self, body: ProcessRequest) -> Processed:
        assert self._fan_out is not None
        selection = select_upstreams(body, NO_UPSTREAMS, self._addresses)
        asked = engine_request(body, selection, ANYBODY, text=body.text)
        plan = await self._fan_out.plan(asked, max_chunks=ANYBODY.limits.max_chunks)
        admission = Admission(
            id=uuid7(), plan=plan, reservation=NOTHING_HELD, by_address=selection.by_address
        )
        run = Run(plan, told=False)
        await self._fan_out.carry_out(run)
        return Processed(admission, run.answer(), NOTHING_BILLED)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            await self.open(stack)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the engine as the product does."""
        settings = self._settings
        self.state.offload = Offload(threads=settings.offload.threads, queue=settings.offload.queue)
        stack.callback(self.state.offload.close)
        chosen = transport(
            settings.fan_out.transport, guard=self._addresses.guard, max_connections=MAX_CONNECTIONS
        )
        fan_out = FanOut(transport=chosen, offload=self.state.offload, max_in_flight=MAX_CONNECTIONS)
        self._fan_out = await stack.enter_async_context(fan_out)


app = Alone()
