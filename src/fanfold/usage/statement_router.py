"""`GET /v1/usage/statement`: a period's bill, checked against the counter."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends

from fanfold.auth.dependencies import CurrentTenant, DatabaseDep
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.usage.parameters import StatementPeriod, UsageReader
from fanfold.usage.statement import Statement, StatementRepository
from fanfold.usage.statement_schemas import StatementRead, statement_read

router = Router(
    prefix="/v1/usage",
    tags=["Usage"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _statements(database: DatabaseDep, tenant: CurrentTenant) -> AsyncIterator[StatementRepository]:
    async with database.snapshot(tenant.id) as session, session.begin():
        yield StatementRepository(session, tenant.id)


StatementRepositoryDep = Annotated[StatementRepository, Depends(_statements, scope="function")]


@router.get("/statement")
async def get_usage_statement(
    statements: StatementRepositoryDep, _principal: UsageReader, period: StatementPeriod
) -> StatementRead:
    """Add up a period by upstream, meter and rate, and say whether that is what the counter says."""
    statement: Statement = await statements.statement(period)
    return statement_read(statement)
