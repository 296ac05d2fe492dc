"""The one fan-out service, injected: a test replaces it with `app.dependency_overrides[get_fan_out]`."""

from typing import Annotated

from fastapi import Depends, Request

from fanfold.fanout.service import FanOut
from fanfold.idempotency.service import KeptAnswers
from fanfold.processing.selection import AddressPolicy
from fanfold.processing.service import ProcessingService
from fanfold.usage.ledger import Ledger


async def get_fan_out(request: Request) -> FanOut:
    """Return the process's engine."""
    fan_out: FanOut = request.app.state.fan_out
    return fan_out


async def get_ledger(request: Request) -> Ledger:
    """Return the process's ledger."""
    ledger: Ledger = request.app.state.ledger
    return ledger


FanOutDep = Annotated[FanOut, Depends(get_fan_out)]
LedgerDep = Annotated[Ledger, Depends(get_ledger)]


async def _kept_answers(request: Request) -> KeptAnswers:
    return KeptAnswers(request.app.state.database, request.app.state.key_ring)


KeptAnswersDep = Annotated[KeptAnswers, Depends(_kept_answers)]


async def _service(
    request: Request, fan_out: FanOutDep, ledger: LedgerDep, answers: KeptAnswersDep
) -> ProcessingService:
    state = request.app.state
    return ProcessingService(
        fan_out=fan_out,
        ledger=ledger,
        answers=answers,
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(state.address_guard, state.settings.fan_out.adhoc_upstreams),
        background=state.background,
        count_call=state.count_call,
    )


ProcessingServiceDep = Annotated[ProcessingService, Depends(_service)]
