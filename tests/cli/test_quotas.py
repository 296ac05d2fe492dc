"""`fanfold tenants grant` and `fanfold outcomes`, on a real Postgres."""

import asyncio
from uuid import UUID

from fanfold.core.identifiers import uuid7
from fanfold.usage.ledger import Ledger
from tests.cli.running import Cli
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books


class TestGrants:
    def test_are_shown_as_they_were_made(self, cli: Cli, tenant: str) -> None:
        made = cli.json(
            "tenants", "grant", tenant, "--units", "500", "--kind", "prepaid", "--reason", "赠送 🙂"
        )
        assert (made["units"], made["kind"], made["reason"]) == (500, "prepaid", "赠送 🙂")
        assert (made["period_start"], UUID(made["granted_by"]).int) == (None, 0)
        assert cli.json("tenants", "grant", tenant, "--units", "5", "--reason", "x")["kind"] == "period"
        assert cli.json("tenants", "grant", tenant, "--units", "-5", "--reason", "x")["units"] == -5

    def test_what_makes_no_sense_is_refused(self, cli: Cli, tenant: str) -> None:
        assert "Not valid: units" in cli.refused("tenants", "grant", tenant, "--units", "0", "--reason", "x")
        assert "fanfold tenants list" in cli.refused(
            "tenants", "grant", "nobody", "--units", "1", "--reason", "x"
        )
        assert "--reason" in cli.refused("tenants", "grant", tenant, "--units", "1", code=2)


class TestOutcomes:
    def test_are_listed_and_ended_once(self, cli: Cli, slug: str, database_urls: TestDatabase) -> None:
        tenant = cli.json("tenants", "create", slug, "--plan", "pro")["id"]
        request = asyncio.run(_lapse(database_urls, UUID(tenant)))
        (listed,) = cli.json("outcomes", "list", "--tenant", slug)
        assert (listed["tenant_id"], listed["request_id"], listed["units"]) == (tenant, request, 60)
        resolve = ("outcomes", "resolve", tenant, request, "--reason", "核对过", "--resolution")
        assert "units" in cli.refused(*resolve, "billed", "--units", "61")
        ended = cli.json(*resolve, "billed", "--units", "7")
        assert (ended["resolution"], ended["resolved_units"], ended["reason"]) == ("billed", 7, "核对过")
        assert "resolved already" in cli.refused(*resolve, "waived")
        assert cli.json("outcomes", "list", "--tenant", slug) == []
        assert cli.json("outcomes", "list", "--tenant", slug, "--state", "all", "--kind", "unknown") == [
            ended
        ]

    def test_what_is_not_there_is_refused(self, cli: Cli, tenant: str) -> None:
        nothing = (
            "outcomes",
            "resolve",
            str(uuid7()),
            str(uuid7()),
            "--resolution",
            "waived",
            "--reason",
            "x",
        )
        assert cli.refused(*nothing) == "There is no such outcome."
        assert "fanfold tenants list" in cli.refused("outcomes", "list", "--tenant", f"{tenant}-not")


async def _lapse(database: TestDatabase, tenant: UUID) -> str:
    books, request = Books(database), uuid7()
    async with Ledger(books.connect) as ledger:
        await ledger.reserve(tenant_id=tenant, request_id=request, units=60, lease_s=0)
    while not await books.rows("outcomes", tenant):
        await books.sweep()
    return str(request)
