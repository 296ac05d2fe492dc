"""The README's lines for operators are sent as they stand, in their order."""

import re
import shlex
from pathlib import Path
from string import Template
from typing import Any

import httpx

from tests.fixtures.app import Product

README = Path(__file__).parents[1] / "README.md"


async def _send(client: httpx.AsyncClient, line: str) -> Any:
    """Do what curl would do with these arguments; -d makes it a POST."""
    words = iter(shlex.split(line))
    assert next(words) == "curl"
    url, headers, content = next(words), {}, None
    for word in words:
        assert word in {"-H", "-d"}, word
        if word == "-d":
            content = next(words)
        else:
            name, _, value = next(words).partition(": ")
            headers[name] = value
    answer = await client.request("POST" if content else "GET", url, headers=headers, content=content)
    assert answer.is_success, f"{line}: {answer.text}"
    return answer.json()


async def test_grants_outcomes_and_budgets(product: Product):
    tenant, operator = await product.tenant(), await product.operator()
    reservation = await product.lapse(tenant, 3)
    values = {
        "SERVER": "http://fanfold.test",
        "TENANT_ID": str(tenant.id),
        "REQUEST_ID": str(reservation.request_id),
        "OPERATOR_KEY": operator.headers["authorization"].removeprefix("Bearer "),
        "FANFOLD_API_KEY": tenant.key,
    }
    section = README.read_text().split("## Units, and who may use how many")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = block.replace("\\\n", " ").strip().splitlines()
    granted, listed, resolved, usage = [
        await _send(product.http(), Template(line).substitute(values)) for line in lines
    ]
    assert (granted["units"], granted["kind"]) == (5000, "prepaid")
    assert values["REQUEST_ID"] in {one["request_id"] for one in listed["data"]}
    assert (resolved["resolution"], resolved["resolved_units"]) == ("billed", 1)
    assert (usage["used"], usage["prepaid"]["granted"]) == (1, 5000)
