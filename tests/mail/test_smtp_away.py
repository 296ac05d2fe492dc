"""A mail server that is away for a while: what was asked for meanwhile is sent when it is back, once."""

import asyncio
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from fanfold.core.config import MailSettings
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.server_processes import free_port
from tests.mail.server import post_office
from tests.users.mailbox import new_address


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("says", [None, "451 4.3.2 not now"])
async def test_the_running_relay_tries_again_until_the_mail_arrives(
    own_database: TestDatabase, says: str | None
):
    port, email = free_port(), new_address()
    settings = product_settings(own_database)
    by_smtp = MailSettings(url=SecretStr(f"smtp://127.0.0.1:{port}"))
    async with running_product(own_database, settings.model_copy(update={"mail": by_smtp})) as product:
        relay, wanted = product.app.state.relay, {"email": email, "password": "sieben grüne Drachen"}
        if says is None:
            assert (await product.stranger().post("/v1/auth/register", json=wanted)).status_code == 202
            await _until(lambda: relay.failed >= 1)
            async with post_office(port=port) as post:
                await _until(lambda: relay.delivered >= 1)
        else:
            async with post_office(port=port) as post:
                post.rcpt = says
                assert (await product.stranger().post("/v1/auth/register", json=wanted)).status_code == 202
                await _until(lambda: relay.failed >= 1)
                assert post.envelopes == []
                post.rcpt = "250 OK"
                await _until(lambda: relay.delivered >= 1)
        assert [each.rcpt_tos for each in post.envelopes] == [[email]]
        assert relay.dead == 0
