"""What docs/upstreams.md shows is taken as it stands there."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from fanfold.fanout.adapters.anthropic import DEFAULT_MAX_TOKENS
from fanfold.fanout.adapters.registry import ADAPTERS, adapter
from fanfold.fanout.retry import REPEATED_STATUSES
from fanfold.fanout.types import Upstream
from fanfold.upstreams.schemas import UpstreamCreate

PAGE = (Path(__file__).parents[1] / "docs/upstreams.md").read_text()
BODIES = [json.loads(body) for body in re.findall(r"```json\n(\{.*?)```", PAGE, re.DOTALL)]
MEMBERS = {member.name for member in fields(Upstream)}


def test_every_kind_has_its_example():
    assert [body["kind"] for body in BODIES] == list(ADAPTERS)


@pytest.mark.parametrize("body", BODIES, ids=[body["kind"] for body in BODIES])
def test_each_example_is_an_upstream(body):
    wanted = UpstreamCreate.model_validate(body)
    adapter(wanted.kind).check(
        Upstream(**{name: getattr(wanted, name) for name in wanted.model_fields_set & MEMBERS})
    )


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
def test_the_template_is_one_of_every_kind_that_chats(kind):
    (template,) = re.findall(r'```json\n"request_template": (\[.*?\])\n```', PAGE, re.DOTALL)
    adapter(kind).check(
        Upstream(kind=kind, url="https://a.test", model="m", request_template=json.loads(template))
    )


def test_the_numbers_are_those_of_the_code():
    assert f"{DEFAULT_MAX_TOKENS} are sent" in PAGE
    (told,) = re.findall(r"^([0-9, and]+) \(Anthropic's \"overloaded\"\)", PAGE, re.MULTILINE)
    assert {int(status) for status in re.findall(r"\d+", told)} == REPEATED_STATUSES
