"""A tenant's export: every line of every file, nothing of another tenant, nothing that is secret."""

import io
import json
import re
import zipfile
from typing import Any

import pytest

from fanfold.auth.principal import TENANT_SCOPES, Scope
from fanfold.members.export import PAGE
from fanfold.members.export_files import FILES, LEFT_OUT, ExportFile, statement_of
from tests.adversarial.rows import tables_of_tenants, with_a_row_in_every_table
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect

# Columns that are in no file: what only the server may know, and what every row would repeat.
UNSHOWN = {
    "tenant_id", "digest", "previous_digest", "credential_sealed", "email_key", "erase_at", "erase_tried_at",
    "erased_at", "owner_id",
    # Of jobs: what is sealed, and how workers take turns.
    "request", "output", "fence", "worker_id", "lease_until", "attempts", "round", "due_at", "fold_first", "open_calls",
    "open_units", "seq", "weight",
    # Of webhooks: the secrets that sign, and what their failures are counted from.
    "secret_sealed", "previous_sealed", "failed_at",
}  # fmt: skip
_COLUMNS = (
    "select column_name from information_schema.columns where table_schema = 'fanfold' and table_name = $1"
)
_EVENTS = """
insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, quantity)
select $1, gen_random_uuid(), 0, 'calls', date_trunc('month', now())::date, n, 'billed', 1
  from generate_series(1, $2::int) n
"""


async def exported(tenant: TenantClient) -> dict[str, list[dict[str, Any]]]:
    answer = await tenant.http.get("/v1/tenant/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == f'attachment; filename="fanfold-{tenant.slug}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {
            name.removesuffix(".ndjson"): [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
        }


async def test_everything_of_the_tenant_is_in_it_and_nothing_of_another(product: Product):
    tenant, other = await with_a_row_in_every_table(product), await with_a_row_in_every_table(product)
    upstream = await tenant.upstream("https://secret.example/", credential="a credential of the tenant's")
    await tenant.http.patch("/v1/tenant", json={"name": "织云科技 🐟"})
    files, theirs = await exported(tenant), await exported(other)
    assert list(files) == [file.name for file in FILES]
    assert [name for name, lines in files.items() if not lines] == []
    assert files["tenant"][0]["name"] == "织云科技 🐟"
    assert upstream["id"] in {line["id"] for line in files["upstreams"]}
    written = json.dumps(files, ensure_ascii=False)
    for secret in ("a credential of the tenant's", tenant.key, str(other.id), other.slug):
        assert secret not in written
    ids = {line.get("id") or line.get("request_id") for lines in files.values() for line in lines}
    other_ids = {line.get("id") or line.get("request_id") for lines in theirs.values() for line in lines}
    assert (ids & other_ids) - {None} == set()


async def test_every_column_of_every_table_is_in_it_or_left_out_on_purpose(product: Product):
    connection = await connect(product.database.superuser_url)
    try:
        tables = await tables_of_tenants(connection)
        shown = {file.select.split("from fanfold.")[1].split()[0]: file for file in FILES}
        assert tables.keys() == shown.keys() | LEFT_OUT.keys()
        for table, file in shown.items():
            columns = {row[0] for row in await connection.fetch(_COLUMNS, table)}
            named = set(re.findall(r"\bt\.(\w+)", file.select))
            assert columns - named <= UNSHOWN, table
    finally:
        await connection.close()


async def test_more_than_a_page_is_whole_and_in_order(product: Product):
    tenant, count = await product.tenant(), 2 * PAGE + 1
    connection = await connect(product.database.superuser_url)
    try:
        await connection.execute(_EVENTS, tenant.id, count)
    finally:
        await connection.close()
    lines = (await exported(tenant))["usage_events"]
    assert sorted(line["units"] for line in lines) == list(range(1, count + 1))
    assert len({line["request_id"] for line in lines}) == count


async def test_it_takes_the_scope(product: Product):
    tenant = await product.tenant()
    http = product.http(await product.key(tenant.id, TENANT_SCOPES - {Scope.TENANT_WRITE}))
    for path in ("/v1/tenant/export", "/v1/audit"):
        assert (await http.get(path)).status_code == 403


class TestAudit:
    async def test_a_tenant_reads_its_own_log_newest_first(self, product: Product):
        tenant, other = await product.tenant(), await product.tenant()
        owner = await product.signed_in(tenant)
        for name in ("一", "二"):
            await owner.http.patch("/v1/tenant", json={"name": name})
        await other.http.patch("/v1/tenant", json={"name": "三"})
        chosen = {"action": "tenant.updated", "actor_id": str(owner.id)}
        lines = (await tenant.http.get("/v1/audit", params=chosen)).json()["data"]
        assert [line["after"] for line in lines] == [{"name": "二"}, {"name": "一"}]
        assert {line["tenant_id"] for line in lines} == {str(tenant.id)}
        everything = (await tenant.http.get("/v1/audit")).json()["data"]
        assert {line["tenant_id"] for line in everything} == {str(tenant.id)}
        assert len(everything) > 2

    @pytest.mark.parametrize(
        "chosen",
        [
            {"action": "no.such"},
            {"object_kind": "none"},
            {"object_id": "x"},
            {"from": "2999-01-01T00:00:00Z"},
        ],
    )
    async def test_filters_filter(self, product: Product, chosen):
        tenant = await product.tenant()
        await tenant.http.patch("/v1/tenant", json={"name": "x"})
        assert (await tenant.http.get("/v1/audit", params=chosen)).json()["data"] == []


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_of_the_tenant_by_its_own_words_too(file: ExportFile, is_first: bool):
    """Row-level security stands under it: nothing else would show that the filter is gone."""
    [_, asked] = statement_of(file, is_first=is_first).rsplit(" where ", 1)
    assert asked.startswith(f"t.{file.column} = :tenant_id ")
    assert (" and (t." in asked) is not is_first
    assert " or " not in asked
