"""A process request over HTTP: answered whole, or as an event stream."""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, Quota, quota_of_principal
from fanfold.auth.principal import Principal, PrincipalTenant, Scope
from fanfold.auth.requirements import Require
from fanfold.core.accept import prefers
from fanfold.core.disconnect import ClientLeft, cancelled_when_client_leaves
from fanfold.core.event_stream import MEDIA_TYPE as EVENTS
from fanfold.core.event_stream import EventStreamResponse
from fanfold.core.piecewise import PiecewiseResponse
from fanfold.core.values import value
from fanfold.idempotency.header import REPLAYED, IdempotencyKeyHeader
from fanfold.idempotency.service import KeptAnswers
from fanfold.processing.dependencies import KeptAnswersDep, ProcessingServiceDep
from fanfold.processing.encoding import encode_answer
from fanfold.processing.replay import keyed_process, replayed, replayed_events
from fanfold.processing.schemas import OnDisconnect, ProcessRequest
from fanfold.processing.service import ProcessingService
from fanfold.usage.types import Warnings

ProcessPrincipal = Annotated[Principal, Require(Scope.PROCESS)]

CLIENT_LEFT_STATUS = 499
JSON = "application/json"


@value(kw_only=True)
class Answering:
    """Who asks, in which request, and what answers it."""

    request: Request
    principal: Principal
    tenant: PrincipalTenant
    quota: Quota
    processing: ProcessingService
    answers: KeptAnswers
    key: str | None

    async def answer(self, body: ProcessRequest, *, usually_streams: bool = False) -> Response:
        """Return the answer, or its event stream: as `stream` says, else `Accept`, else as the route usually does."""
        if self._wants_stream(body, usually_streams=usually_streams):
            return await self._stream(body)
        try:
            async with self._attended(body):
                return await self._whole(body)
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT_STATUS)

    def _wants_stream(self, body: ProcessRequest, *, usually_streams: bool) -> bool:
        if "stream" in body.model_fields_set:
            return body.stream
        given = [value for name, value in self.request.scope["headers"] if name == b"accept"]
        if usually_streams or not given:
            return usually_streams
        return prefers(b",".join(given).decode("latin-1"), EVENTS, JSON)

    def _attended(self, body: ProcessRequest) -> AbstractAsyncContextManager[None]:
        # What goes on is still this very request, so that limits of concurrent requests count it to its end.
        return nullcontext() if _goes_on(body) else cancelled_when_client_leaves(self.request)

    async def _whole(self, body: ProcessRequest) -> Response:
        keyed = await keyed_process(self.request, self.tenant, body, self.key)
        if keyed and (kept := await self.answers.look_up(keyed)):
            return await replayed(self.answers, keyed, kept, body, media_type=JSON)
        admission = await self.processing.admit(self.principal, self.tenant, self.quota, body, keyed)
        processed = await self.processing.execute(admission)
        headers = warning_headers(processed.billed.settled.warnings)
        return PiecewiseResponse(await encode_answer(processed), media_type=JSON, headers=headers)

    async def _stream(self, body: ProcessRequest) -> Response:
        # A client that leaves meanwhile is noticed when the stream begins: nothing may stand between what is reserved
        # and the stream that bills it.
        keepalive_s = self.request.app.state.settings.server.keepalive_s
        keyed = await keyed_process(self.request, self.tenant, body, self.key)
        if keyed and (kept := await self.answers.look_up(keyed)):
            events = await replayed_events(self.answers, keyed, kept, body)
            return EventStreamResponse(events, keepalive_s=keepalive_s, headers=REPLAYED)
        admission = await self.processing.admit(self.principal, self.tenant, self.quota, body, keyed)
        events = self.processing.streamed(admission)
        return EventStreamResponse(events, keepalive_s=keepalive_s, goes_on=_goes_on(body))


async def _answering(  # noqa: PLR0913, PLR0917 (what it depends on)
    request: Request,
    principal: ProcessPrincipal,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    processing: ProcessingServiceDep,
    answers: KeptAnswersDep,
    key: IdempotencyKeyHeader = None,
) -> Answering:
    return Answering(
        request=request,
        principal=principal,
        tenant=tenant,
        quota=quota,
        processing=processing,
        answers=answers,
        key=key,
    )


def answering_directly(request: Request) -> Answering:
    """Return the same without the framework, of a request with no key, whose principal the middleware has let in."""
    principal: Principal = request.scope["state"]["principal"]
    assert principal.tenant is not None  # noqa: S101 (the route's requirement, which the middleware has checked)
    processing: ProcessingService = request.app.state.processing
    return Answering(
        request=request,
        principal=principal,
        tenant=principal.tenant,
        quota=quota_of_principal(principal),
        processing=processing,
        answers=processing.answers,
        key=None,
    )


AnsweringDep = Annotated[Answering, Depends(_answering)]


def warning_headers(warnings: Warnings) -> dict[str, str]:
    """Return `Quota-Warning` where 80 or 100 percent are used: a List of Strings with `p` in percent (RFC 9651)."""
    if not (warnings.quota or warnings.budget):
        return {}
    levels = {"quota": warnings.quota, "budget": warnings.budget}
    items = [f'"{name}";p={level}' for name, level in levels.items() if level]
    return {"Quota-Warning": ", ".join(items)}


def _goes_on(body: ProcessRequest) -> bool:
    return body.on_disconnect is OnDisconnect.CONTINUE
