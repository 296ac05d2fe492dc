"""The README's lines for people are sent as they stand, in their order, by somebody who has a mailbox."""

import re
import shlex
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any
from zipfile import is_zipfile

import httpx
import pytest

from tests.fixtures.app import Product
from tests.users.mailbox import new_address, token_of

ROOT = Path(__file__).parents[1]
FORM = "application/x-www-form-urlencoded"


def _block(page: str, title: str) -> str:
    section = (ROOT / page).read_text().split(f"{title}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return str(block)


async def _send(client: httpx.AsyncClient, line: str) -> httpx.Response:
    """Do what curl would do with these arguments; -d makes it a POST of a form."""
    words = iter(shlex.split(line))
    assert next(words) == "curl"
    url = next(words)
    said: dict[str, list[str]] = {}
    for word in words:
        assert word in {"-H", "-d", "-u", "-o", "-X"}, word
        said.setdefault(word, []).append(next(words))
    headers = {"Content-Type": FORM} if "-d" in said else {}
    headers |= dict(each.split(": ", 1) for each in said.get("-H", ()))
    if "-u" in said:
        headers["Authorization"] = "Basic " + b64encode(said["-u"][0].encode()).decode()
    (method,) = said.get("-X", ["POST" if "-d" in said else "GET"])
    answer = await client.request(method, url, headers=headers, content="".join(said.get("-d", ())))
    assert answer.is_success, f"{line}: {answer.text}"
    return answer


@pytest.mark.parametrize(("page", "title"), [("README.md", "## People"), ("README.zh.md", "## 个人")])
async def test_an_account_s_life(product: Product, page: str, title: str):
    ada, bob = new_address(), new_address()
    block = _block(page, title).replace("ada@example.com", ada).replace("bob@example.com", bob)
    lines = iter(block.replace("\\\n", " ").strip().splitlines())
    values = {"SERVER": "http://fanfold.test"}

    async def send_next() -> Any:
        answer = await _send(product.stranger(), Template(next(lines)).substitute(values))
        return answer.json() if answer.content.startswith(b"{") else answer.content

    await send_next()
    (mail,) = await product.mails(ada)
    values["TOKEN_OF_THE_MAIL"] = token_of(mail)
    assert await send_next() == b""
    tokens = await send_next()
    values |= {"ACCESS_TOKEN": tokens["access_token"], "REFRESH_TOKEN": tokens["refresh_token"]}
    key, upstream, invitation = await send_next(), await send_next(), await send_next()
    assert key["key"].startswith("ff_live_")
    with_key = {"Authorization": f"Bearer {key['key']}"}
    answer = await product.stranger().post("/v1/process", headers=with_key, json={"text": "先展开，再折叠。"})
    assert answer.json()["status"] == "succeeded"
    assert upstream["is_default"]
    assert (invitation["email"], invitation["role"], invitation["status"]) == (bob, "developer", "open")
    assert (await send_next())["refresh_token"] != tokens["refresh_token"]
    client = await send_next()
    values |= {"CLIENT_ID": client["id"], "CLIENT_SECRET": client["client_secret"]}
    machine = await send_next()
    assert (machine["scope"], "refresh_token" in machine) == ("process", False)
    assert is_zipfile(BytesIO(await send_next()))
    assert await send_next() == b""
    assert next(lines, None) is None
    ended = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await product.stranger().get("/v1/me", headers=ended)).status_code == 401
