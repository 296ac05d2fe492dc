"""What the README says is tried."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]


def test_the_engine_alone_runs_as_shown(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout.strip() == "succeeded 先展开，再折叠。 | Fan out, then fold.", done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_first_request_is_valid_json():
    for page in ("README.md", "README.zh.md"):
        body, *_ = re.findall(r"^  -d '(\{.*\})'$", (ROOT / page).read_text(), re.MULTILINE)
        assert json.loads(body)["text"]


def test_the_chinese_page_names_all_that_the_english_one_names():
    english, chinese = ((ROOT / page).read_text() for page in ("README.md", "README.zh.md"))
    named = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", english, flags=re.DOTALL)))
    assert len(named) > 50
    assert {name for name in named if name not in chinese} == set()
