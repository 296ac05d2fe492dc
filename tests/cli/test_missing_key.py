"""A secret key that was taken out before `fanfold secrets reseal`: 503 for clients, words for the operator."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from fanfold.cli.output import Refused
from fanfold.cli.sealed import check_sealed
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from tests.cli.running import Cli
from tests.cli.test_resealing import (
    NEWER,
    code_of,
    confirm,
    moved,
    settings_of,
    wish_for_second_factor,
)
from tests.fixtures.app import PASSWORD, SECRET, Person, Product, TenantClient, running_product
from tests.fixtures.database import TestDatabase, connect

OLD = KeyRing([SECRET]).key_ids[0]


@dataclass(frozen=True, slots=True)
class Before:
    """What there was while the key was there."""

    tenant: TenantClient
    person: Person
    secret: str


async def _signed_in(product: Product, *, upstream: str | None = None) -> Before:
    tenant = await product.tenant()
    if upstream is not None:
        await tenant.upstream(upstream, slug="sealed", credential="very-secret")
    person = await product.signed_in(tenant)
    secret = await wish_for_second_factor(person)
    assert (await confirm(person, secret)).status_code == 204
    return Before(tenant, person, secret)


@pytest.fixture
async def before(own_database: TestDatabase) -> Before:
    async with running_product(own_database, settings_of(own_database, SECRET)) as product:
        before = await _signed_in(product, upstream="https://one.example/")
        made = await before.tenant.http.post("/v1/jobs", json={"text": "一 two 🙂"})
        assert made.status_code == 202, made.text
        return before


@pytest.fixture
async def product(own_database: TestDatabase, before: Before) -> AsyncIterator[Product]:  # noqa: ARG001 (first)
    """The same database, without the key."""
    async with running_product(own_database, settings_of(own_database, NEWER)) as product:
        yield product


def _is_not_ready(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


def _password(person: Person) -> dict[str, str]:
    return {"username": person.email, "password": PASSWORD}


async def test_tokens_are_neither_signed_nor_judged_and_the_server_is_not_ready(
    before: Before, product: Product
):
    asked = await product.stranger().post("/v1/auth/token", data=_password(before.person))
    assert _is_not_ready(asked)
    assert asked.json()["error"] == "temporarily_unavailable"
    judged = await product.http(before.person.tokens["access_token"]).get("/v1/me")
    assert _is_not_ready(judged)
    assert judged.json()["code"] == "not-ready"
    explained = await product.stranger().get("/problems/not-ready")
    assert "The server is starting, cannot reach its database, or lacks a key" in explained.text
    ready = await product.stranger().get("/readyz")
    assert (ready.status_code, ready.json()["failed"]) == (503, ["signing key"])
    published = await product.stranger().get("/.well-known/jwks.json")
    assert (published.status_code, published.json()) == (200, {"keys": []})
    assert (await product.http("a.b.c").get("/v1/me")).status_code == 401


async def test_a_second_factor_is_not_judged(
    before: Before, product: Product, own_database: TestDatabase, cli: Cli
):
    await _rotate(own_database, cli)
    http, form = product.stranger(), _password(before.person)
    wrong = await http.post("/v1/auth/token", data=form | {"password": "wrong", "otp": "123456"})
    assert wrong.status_code == 400
    answer = await http.post("/v1/auth/token", data=form | {"otp": code_of(before.secret, 1)})
    assert _is_not_ready(answer)
    assert answer.json()["error"] == "temporarily_unavailable"
    assert OLD not in answer.text


async def _rotate(database: TestDatabase, cli: Cli) -> None:
    """Make another key that signs, as the log says for one that is lost."""
    env = {
        "FANFOLD_DATABASE_URL": database.app_url,
        "FANFOLD_SECRET_KEYS": NEWER.get_secret_value(),
        "FANFOLD_JWT_ALGORITHM": "ES256",
    }
    await asyncio.to_thread(cli.json, "secrets", "rotate", "--signing", **env)


async def test_another_key_that_signs_helps_where_the_old_one_is_lost(
    before: Before, own_database: TestDatabase, cli: Cli
):
    await _rotate(own_database, cli)
    async with running_product(own_database, settings_of(own_database, NEWER)) as product:
        assert (await product.stranger().get("/readyz")).status_code == 200
        other = await product.signed_in(before.tenant)
        assert (await other.http.get("/v1/me")).status_code == 200
        asked = {"current_password": PASSWORD, "code": code_of(before.secret, 1)}
        person = moved(before.person, product)
        person.http.headers["Authorization"] = f"Bearer {before.person.tokens['access_token']}"
        assert _is_not_ready(await person.http.request("DELETE", "/v1/me/totp", json=asked))


async def test_an_upstream_is_left_out_and_others_go_on(before: Before, own_database: TestDatabase, cli: Cli):
    await _rotate(own_database, cli)
    async with running_product(own_database, settings_of(own_database, NEWER)) as product:
        other = await product.signed_in(before.tenant)
        open_one = {"slug": "open", "kind": "http_json", "url": product.zoo.url("ok")}
        assert (await other.http.post("/v1/upstreams", json=open_one)).status_code == 201
        statuses = [
            (
                await other.http.post("/v1/process", json={"text": "一 two 🙂", "upstreams": [slug]})
            ).status_code
            for slug in ("sealed", "open")
        ]
        assert statuses == [503, 200]
        assert (await other.http.get("/v1/upstreams")).status_code == 200


async def test_the_log_and_the_doctor_name_the_key_and_what_comes_first(
    before: Before, product: Product, own_database: TestDatabase, cli: Cli, capfd: pytest.CaptureFixture[str]
):
    await product.stranger().post("/v1/auth/token", data=_password(before.person))
    logged = ""
    async with asyncio.timeout(60):  # the log is written beside the loop
        while f"Secret key {OLD} is not in FANFOLD_SECRET_KEYS" not in logged:
            await asyncio.sleep(0.05)
            logged += capfd.readouterr().err
    assert "fanfold secrets reseal" in logged
    env = {"FANFOLD_DATABASE_URL": own_database.app_url, "FANFOLD_PORT": "0"}
    alone = env | {"FANFOLD_SECRET_KEYS": NEWER.get_secret_value()}
    found = await asyncio.to_thread(_sealed, cli, alone)
    assert found["ok"] is False
    assert (
        f"{OLD}, needed by 1 credentials of upstreams, 1 keys that sign, 1 second factors, 2 texts of jobs"
        in found["remedy"]
    )
    assert "fanfold secrets reseal" in found["remedy"]
    both = f"{NEWER.get_secret_value()},{SECRET.get_secret_value()}"
    found = await asyncio.to_thread(_sealed, cli, env | {"FANFOLD_SECRET_KEYS": both})
    assert (found["ok"], found["detail"]) == (True, "5, all of keys that are there")


@pytest.mark.usefixtures("before")
async def test_what_does_not_open_is_counted_and_stays_and_the_rest_is_sealed_anew(
    own_database: TestDatabase, cli: Cli
):
    newest = SecretStr(secrets.token_urlsafe(48))
    async with running_product(own_database, settings_of(own_database, NEWER)) as product:
        other = await product.tenant()
        await other.upstream("https://two.example/", slug="other", credential="very-secret")
    keys = ",".join(key.get_secret_value() for key in (newest, NEWER))
    env = {"FANFOLD_DATABASE_URL": own_database.app_url, "FANFOLD_SECRET_KEYS": keys}
    said = await asyncio.to_thread(cli, "secrets", "reseal", "--json", **env)
    assert said.exit_code == 1
    assert json.loads(said.stdout) == {
        "upstreams_resealed": 1,
        "webhooks_resealed": 0,
        "signing_keys_resealed": 0,
        "second_factors_resealed": 0,
        "job_texts_resealed": 0,
        "not_opened": 5,
    }
    again = await asyncio.to_thread(cli, "secrets", "reseal", **env)
    assert again.exit_code == 1
    assert "5 did not open with any key of FANFOLD_SECRET_KEYS and stayed as they are" in again.stderr
    both = env | {"FANFOLD_SECRET_KEYS": f"{keys},{SECRET.get_secret_value()}"}
    assert (await asyncio.to_thread(cli.json, "secrets", "reseal", **both))["not_opened"] == 0
    alone = env | {"FANFOLD_SECRET_KEYS": newest.get_secret_value(), "FANFOLD_PORT": "0"}
    assert (await asyncio.to_thread(_sealed, cli, alone))["detail"] == "6, all of keys that are there"


def _sealed(cli: Cli, env: dict[str, str]) -> dict[str, Any]:
    checks = json.loads(cli("doctor", "--json", **env).stdout)["checks"]
    [found] = [check for check in checks if check["name"] == "sealed secrets"]
    return dict(found)


async def test_texts_that_take_too_long_to_look_at_are_left_out_and_the_others_told(
    own_database: TestDatabase,
    before: Before,  # noqa: ARG001 (sealed with the key that is missing)
):
    superuser = await connect(own_database.superuser_url)
    database = Database(own_database.app_url, statement_timeout_s=2.0)
    try:
        async with superuser.transaction():
            await superuser.execute("lock table fanfold.job_parts in access exclusive mode")
            with pytest.raises(Refused, match=r"1 credentials of upstreams, .* 1 texts of jobs"):
                await check_sealed(database, KeyRing([NEWER]))
            told = await check_sealed(database, KeyRing([SECRET]))
            assert told.endswith(
                "keys that are there; of texts of jobs there are too many to look at all of them"
            )
    finally:
        await database.engine.dispose()
        await superuser.close()
