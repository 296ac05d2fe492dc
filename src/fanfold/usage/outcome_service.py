"""Ending what is open: an operator's word, which holds for good."""

from typing import NoReturn
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fanfold.audit.types import Actor
from fanfold.core.db import Database
from fanfold.core.errors import Conflict, NotFound, NotReady, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.usage.grant_service import BY_COMMAND_LINE
from fanfold.usage.models import OpenOutcome
from fanfold.usage.outcome_repository import OutcomeRepository
from fanfold.usage.outcome_schemas import OutcomeResolve

_RESOLVE = text(
    "select fanfold.outcome_resolve_audited(:tenant_id, :request_id, :resolution, :units, :reason, :resolved_by,"
    " :event, :actor_kind, :asked)"
)
_ATTEMPTS = 3
_DEADLOCK = "40P01"
_LOOK_AGAIN = (
    "It is resolved already, or has changed meanwhile. Look at it again: its own late bill may have come."
)
_GRANT_FIRST = (
    "The units are not free in the request's period. Grant units first (prepaid ones count in every period), raise the "
    "API key's budget where it has one, bill fewer, or waive."
)


class OutcomeService:
    """Resolves outcomes of all tenants, as one statement of the ledger's own: no lock of it outlives that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(
        self, tenant_id: UUID, request_id: UUID, wanted: OutcomeResolve, *, actor: Actor
    ) -> OpenOutcome:
        """End the outcome, say so in the audit log, and return it.

        Raises 422 for too many units, 404, and 409 where it is no longer open.
        """
        values = {
            "tenant_id": tenant_id,
            "request_id": request_id,
            "resolved_by": actor.id or BY_COMMAND_LINE,
            "event": uuid7(),
            "actor_kind": actor.kind,
            "asked": actor.request_id,
        }
        word = await self._call(values | wanted.model_dump(include={"resolution", "units", "reason"}))
        if word != "ok":
            _refuse(word)
        async with self._database.operator_session() as session:
            found = await OutcomeRepository(session).find(tenant_id, request_id)
        if found is None:
            _refuse("missing")
        return found

    async def _call(self, values: dict[str, object]) -> str:
        # It holds the period's lock before the flush's first inserts, so the two may deadlock: nothing is written then.
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.autocommit() as connection:
                    return str((await connection.execute(_RESOLVE, values)).scalar_one())
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                    raise
        raise NotReady("Too many others bill this tenant now. Try again.", headers={"Retry-After": "1"})


def _refuse(word: str) -> NoReturn:
    match word:
        case "missing":
            raise NotFound("There is no such outcome.")
        case "excessive":
            message = "At most the outcome's own units can be billed."
            raise ValidationFailed(
                message, errors=[{"loc": ["body", "units"], "msg": message, "type": "less_than_equal"}]
            )
        case "insufficient":
            raise Conflict(_GRANT_FIRST)
        case _:
            raise Conflict(_LOOK_AGAIN)
