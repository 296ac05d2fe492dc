"""`fanfold secrets reseal`: afterwards nothing needs the old key but the API keys that it issued."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import httpx
import pyotp
import pytest
from pydantic import SecretStr

from fanfold.core.config import SecuritySettings, Settings
from tests.cli.running import Cli
from tests.fixtures.app import (
    PASSWORD,
    SECRET,
    Person,
    Product,
    TenantClient,
    product_settings,
    running_product,
)
from tests.fixtures.database import TestDatabase
from tests.zoo import Zoo

NEWER = SecretStr(secrets.token_urlsafe(48))


@pytest.fixture
async def zoo() -> AsyncIterator[Zoo]:
    """One zoo for both applications: an upstream that moves loses its credential."""
    async with Zoo() as zoo:
        yield zoo


def code_of(secret: str, offset: int = 0) -> str:
    """Return the code of this step, or of one after it: one of a step before may be over before it is looked at."""
    return pyotp.TOTP(secret).generate_otp(int(time.time()) // 30 + offset)


async def wish_for_second_factor(person: Person) -> str:
    asked = await person.http.post("/v1/me/totp", json={"current_password": PASSWORD})
    return str(asked.json()["secret"])


async def confirm(person: Person, secret: str) -> httpx.Response:
    return await person.http.post("/v1/me/totp/confirm", json={"code": code_of(secret)})


def settings_of(database: TestDatabase, *ring: SecretStr) -> Settings:
    changed = {"security": SecuritySettings(secret_keys=list(ring))}
    return product_settings(database).model_copy(update=changed)


def moved(person: Person, product: Product) -> Person:
    """Return the person as a client of another application."""
    return Person(person.id, person.email, product.stranger())


async def prepare(product: Product, zoo: Zoo) -> tuple[TenantClient, Person, str, Person, str]:
    """Return a tenant whose upstream has a credential, a member with a second factor, and one who wishes for one."""
    tenant = await product.tenant()
    await tenant.upstream(zoo.url("ok"), credential="very-secret", is_default=True)
    factored, wishing = await product.signed_in(tenant), await product.signed_in(tenant)
    secret, wished = await wish_for_second_factor(factored), await wish_for_second_factor(wishing)
    assert (await confirm(factored, secret)).status_code == 204
    return tenant, factored, secret, wishing, wished


async def test_without_the_old_key_people_with_a_second_factor_sign_in_and_upstreams_are_called(
    own_database: TestDatabase, cli: Cli, zoo: Zoo
):
    async with running_product(own_database, settings_of(own_database, SECRET)) as product:
        tenant, factored, secret, wishing, wished = await prepare(product, zoo)
        token = wishing.tokens["access_token"]
        hook = (await tenant.http.post("/v1/webhooks", json={"url": zoo.url("ok")})).json()
        await tenant.http.post(f"/v1/webhooks/{hook['id']}/rotate-secret", json={})
        made = await tenant.http.post("/v1/jobs", json={"text": "一 two 🙂"})
        assert made.status_code == 202, made.text
    both = ",".join(key.get_secret_value() for key in (NEWER, SECRET))
    env = {"FANFOLD_DATABASE_URL": own_database.app_url, "FANFOLD_SECRET_KEYS": both}
    resealed = await asyncio.to_thread(cli.json, "secrets", "reseal", **env)
    said = await asyncio.to_thread(cli, "secrets", "reseal", **env)
    assert "Idempotency-Key for a day" in said.stderr
    assert "job_texts_resealed       0" in said.stdout
    assert resealed == {
        "upstreams_resealed": 1,
        "webhooks_resealed": 1,
        "signing_keys_resealed": 1,
        "second_factors_resealed": 2,
        "job_texts_resealed": 2,  # what was asked for, and its text
        "not_opened": 0,
    }
    async with running_product(own_database, settings_of(own_database, NEWER)) as product:
        there = moved(factored, product)
        await there.sign_in(otp=code_of(secret, 1), tenant=tenant.slug)
        answer = await there.http.post("/v1/process", json={"text": "一 two 🙂"})
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
        other = moved(wishing, product)
        other.http.headers["Authorization"] = f"Bearer {token}"
        assert (await confirm(other, wished)).status_code == 204
        tried = await there.http.post(f"/v1/webhooks/{hook['id']}/test")
        assert tried.json()["success"], tried.text  # both secrets, or it would be a 503
        assert (await product.http(tenant.key).get("/v1/usage")).status_code == 401  # rests on the old key


async def test_a_new_signing_key_is_made_beside_a_server_and_another_secret_key_is_not(
    own_database: TestDatabase, cli: Cli
):
    async with running_product(own_database, settings_of(own_database, SECRET)) as product:
        before = await product.app.state.signing_keys.signing()
        env = {"FANFOLD_DATABASE_URL": own_database.app_url, "FANFOLD_SECRET_KEYS": SECRET.get_secret_value()}
        rotate = ("secrets", "rotate", "--signing")
        made = await asyncio.to_thread(cli.json, *rotate, FANFOLD_JWT_ALGORITHM="ES256", **env)
        found = await product.app.state.signing_keys.find(made["signing_key"])
        assert found.algorithm == "ES256"
        assert found.kid != before.kid
        file = {"FANFOLD_JWT_KEY_FILE": "/nowhere/key.pem"}
        said = await asyncio.to_thread(Cli(cli.env | env | file).refused, *rotate)
        assert "FANFOLD_JWT_KEY_FILE says which key signs" in said
