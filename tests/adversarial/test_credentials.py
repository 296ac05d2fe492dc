"""Keys that nearly hold, held, or hold for less: refused on every process in time, and never wider than their maker."""

import asyncio
import itertools
import string
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import event

from fanfold.api_keys.keys import has_form, issue
from fanfold.auth.principal import TENANT_SCOPES
from fanfold.core.checksummed import ALPHABET, is_intact
from fanfold.main import create_app
from tests.adversarial.raw import bearer, send_raw
from tests.fixtures.app import Product, product_settings, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLDS_WITHIN_S = 2.0
# Time enough to be used before.
EXPIRES_AFTER_S = 6.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def twin(arena: Product) -> AsyncIterator[FastAPI]:
    """A second process's application on the same database."""
    async with running(create_app(product_settings(arena.database))) as app:
        yield app


@contextmanager
def queries(product: Product) -> Iterator[list[str]]:
    """Collect the statements that the application sends through its pool."""
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        sent.append(statement)

    engine = product.app.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _edits(key: str) -> Iterator[str]:
    letters = ALPHABET + "_-. \x00é"
    for place, letter in itertools.product(range(len(key)), letters):
        if letter != key[place]:
            yield key[:place] + letter + key[place + 1 :]
    for place in range(len(key)):
        yield key[:place] + key[place + 1 :]
        yield key[:place] + key[place] + key[place:]
        if place and key[place - 1] != key[place]:
            yield key[: place - 1] + key[place] + key[place - 1] + key[place + 1 :]
    yield from (key.upper(), key.lower(), key.swapcase(), key + "\n", " " + key, key * 2)


async def test_no_edit_of_one_character_is_well_formed(figures):
    tried = 0
    for _ in range(5):
        key = issue().key.get_secret_value()
        assert has_form(key)
        assert is_intact(key)
        for edited in _edits(key):
            assert not (has_form(edited) and is_intact(edited)), (key, edited)
            tried += 1
    figures(f"keys: {tried} edits of one character, none well formed")


async def test_an_edited_key_is_refused_without_a_query(arena):
    tenant = await arena.tenant()
    with queries(arena) as sent:
        for place in range(len(tenant.key)):
            other = next(letter for letter in string.ascii_letters if letter != tenant.key[place])
            edited = tenant.key[:place] + other + tenant.key[place + 1 :]
            answer = await send_raw(arena.app, "GET", "/v1/upstreams", [bearer(edited)])
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert sent == []
        # The same counting does see a query: of a key that is well formed and of nobody.
        unknown = issue().key.get_secret_value()
        assert (await send_raw(arena.app, "GET", "/v1/upstreams", [bearer(unknown)])).status_code == 401
        assert any("fanfold.authenticate" in statement for statement in sent)


async def test_no_credential_has_a_plain_challenge(arena):
    answer = await send_raw(arena.app, "GET", "/v1/upstreams")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_bearer_token_comes_before_x_api_key_and_other_schemes_count_for_nothing(arena):
    one, two = await arena.tenant(), await arena.tenant()
    mine = await one.upstream("https://one.example/")

    async def ask(*headers):
        return await send_raw(arena.app, "GET", f"/v1/upstreams/{mine['id']}", headers)

    of_one, of_two = ("x-api-key", one.key.encode()), ("x-api-key", two.key.encode())
    assert (await ask(of_one)).status_code == 200
    assert (await ask(of_two, bearer(one.key))).status_code == 200
    assert (await ask(of_one, bearer(two.key))).status_code == 404
    assert (await ask(of_one, bearer("garbage"))).status_code == 401
    assert (await ask(of_one, ("authorization", b"Basic dTpw"))).status_code == 200
    assert (await ask(("authorization", b"bEaReR  " + one.key.encode()))).status_code == 200


class TestChangesHold:
    """After two seconds, in the process that made the change and in one that knows nothing of it."""

    async def _both(self, arena, twin, key: str, path: str = "/v1/upstreams", method: str = "GET"):
        return [await send_raw(app, method, path, [bearer(key)]) for app in (arena.app, twin)]

    async def test_revoked_expired_suspended_resumed_narrowed_and_limited(self, arena, twin):
        operator = await arena.operator()
        revoked, expired, suspended, narrowed, limited, own = [await arena.tenant() for _ in range(6)]
        keys = {tenant.slug: await self._child(tenant, seconds=None) for tenant in (revoked, narrowed, own)}
        keys[expired.slug] = await self._child(expired, seconds=EXPIRES_AFTER_S)
        made_at = time.monotonic()
        everybody = [(keys.get(tenant.slug, (None, tenant.key))[1]) for tenant in
                     (revoked, expired, suspended, narrowed, limited, own)]  # fmt: skip
        for key in everybody:
            assert {answer.status_code for answer in await self._both(arena, twin, key)} == {200}
        await revoked.http.delete(f"/v1/api-keys/{keys[revoked.slug][0]}")
        await operator.post(f"/v1/admin/tenants/{suspended.id}/suspend")
        await narrowed.http.patch(f"/v1/api-keys/{keys[narrowed.slug][0]}", json={"scopes": ["jobs"]})
        await operator.patch(f"/v1/admin/tenants/{limited.id}/limits", json={"burst": 7, "max_text_chars": 3})
        await own.http.patch(
            f"/v1/api-keys/{keys[own.slug][0]}", json={"requests_per_minute": 60, "burst": 5}
        )
        await asyncio.sleep(max(HOLDS_WITHIN_S, EXPIRES_AFTER_S - (time.monotonic() - made_at)))
        for app in (arena.app, twin):
            ask = _asker(app)
            assert await ask(everybody[0]) == (401, "not-authenticated")
            assert await ask(everybody[1]) == (401, "not-authenticated")
            assert await ask(everybody[2]) == (403, "tenant-suspended")
            assert await ask(everybody[3], "/v1/usage") == (403, "insufficient-scope")
            shown = await send_raw(app, "GET", "/v1/upstreams", [bearer(everybody[4])])
            assert '"tenant";q=7;' in shown.headers["ratelimit-policy"]
            shown = await send_raw(app, "GET", "/v1/upstreams", [bearer(everybody[5])])
            assert '"key";q=5;' in shown.headers["ratelimit-policy"]
        await operator.post(f"/v1/admin/tenants/{suspended.id}/resume")
        await asyncio.sleep(HOLDS_WITHIN_S)
        assert {answer.status_code for answer in await self._both(arena, twin, suspended.key)} == {200}

    async def _child(self, tenant, *, seconds: float | None) -> tuple[str, str]:
        body = {"name": "child", "scopes": ["usage:read", "jobs"]}
        if seconds:
            body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        made = (await tenant.http.post("/v1/api-keys", json=body)).json()
        return made["id"], made["key"]


def _asker(app: FastAPI):
    async def ask(key: str, path: str = "/v1/upstreams") -> tuple[int, str]:
        answer = await send_raw(app, "GET", path, [bearer(key)])
        return answer.status_code, answer.json().get("code", "")

    return ask


async def test_no_key_makes_or_becomes_one_that_may_more(arena):
    """For each pair of scopes: who has the one alone cannot give the other."""
    tenant = await arena.tenant()
    victim = (await tenant.http.post("/v1/api-keys", json={"name": "v", "scopes": ["jobs"]})).json()["id"]
    for has in sorted(TENANT_SCOPES - {"keys:write"}):
        maker = arena.http(await arena.key(tenant.id, {has, "keys:write"}))
        for wants in sorted(TENANT_SCOPES):
            scopes = sorted({wants, "keys:write"})
            may = wants in {has, "keys:write"}
            made = await maker.post("/v1/api-keys", json={"name": "x", "scopes": scopes})
            changed = await maker.patch(f"/v1/api-keys/{victim}", json={"scopes": scopes})
            for answer, good in ((made, 201), (changed, 200)):
                assert answer.status_code == (good if may else 403), (has, wants, answer.text)
                assert may or answer.json()["code"] == "scope-exceeds-grantor"
        without = arena.http(await arena.key(tenant.id, {has}))
        assert (await without.post("/v1/api-keys", json={"name": "x", "scopes": [has]})).status_code == 403


async def test_a_shown_key_is_kept_by_no_cache_and_shown_once(arena):
    tenant = await arena.tenant()
    made = await tenant.http.post("/v1/api-keys", json={"name": "once"})
    assert made.headers["cache-control"] == "no-store"
    key = made.json()["key"]
    again: list[httpx.Response] = [
        await tenant.http.get("/v1/api-keys"),
        await tenant.http.get(made.headers["location"]),
        await tenant.http.patch(made.headers["location"], json={"name": "renamed"}),
    ]
    for answer in again:
        assert answer.status_code == 200
        assert key.split("_")[3] not in answer.text
