"""The README's lines for people are sent as they stand, in their order, by somebody who has a mailbox."""

import re
import shlex
from pathlib import Path
from string import Template
from typing import Any

import httpx
import pytest

from tests.fixtures.app import Product
from tests.users.mailbox import new_address, token_of

ROOT = Path(__file__).parents[1]
FORM = "application/x-www-form-urlencoded"


async def _send(client: httpx.AsyncClient, line: str) -> Any:
    """Do what curl would do with these arguments; -d makes it a POST of a form."""
    words = iter(shlex.split(line))
    assert next(words) == "curl"
    url, headers, content = next(words), {"Content-Type": FORM}, None
    for word in words:
        assert word in {"-H", "-d"}, word
        if word == "-d":
            content = next(words)
        else:
            name, _, value = next(words).partition(": ")
            headers[name] = value
    answer = await client.post(url, headers=headers, content=content)
    assert answer.is_success, f"{line}: {answer.text}"
    return answer.json() if answer.content else None


@pytest.mark.parametrize(("page", "title"), [("README.md", "## People"), ("README.zh.md", "## 个人")])
async def test_registering_signing_in_and_inviting(product: Product, page: str, title: str):
    section = (ROOT / page).read_text().split(f"{title}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    ada, bob = new_address(), new_address()
    block = block.replace("ada@example.com", ada).replace("bob@example.com", bob)
    lines = iter(block.replace("\\\n", " ").strip().splitlines())
    values = {"SERVER": "http://fanfold.test"}

    async def send_next() -> Any:
        return await _send(product.stranger(), Template(next(lines)).substitute(values))

    await send_next()
    (mail,) = await product.mails(ada)
    values["TOKEN_OF_THE_MAIL"] = token_of(mail)
    assert await send_next() is None
    values["ACCESS_TOKEN"] = (await send_next())["access_token"]
    key, invitation = await send_next(), await send_next()
    assert key["key"].startswith("ff_live_")
    assert (invitation["email"], invitation["role"], invitation["status"]) == (bob, "developer", "open")
    assert next(lines, None) is None
