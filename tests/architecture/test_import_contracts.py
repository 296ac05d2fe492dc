"""The import contracts hold, and each of them has teeth: a copy with one violation of each breaks all."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.fixtures.servers import clean_environment

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
VIOLATIONS = {
    "Imports only go down the floors": ("tenants/service.py", "import fanfold.auth.principal"),
    "No cycles": ("core/errors.py", "import fanfold.core.problems"),
    "The engine knows no web framework": ("fanout/retry.py", "import fastapi"),
    "Services, repositories and models know no web framework": ("usage/repository.py", "import fastapi"),
    "Routers know no database": ("upstreams/router.py", "import sqlalchemy"),
    "Kinds of adapters, folds, strategies and transports": (
        "fanout/adapters/echo.py", "import fanfold.fanout.adapters.openai",
    ),
    "A splitter knows only those that it falls to": (
        "fanout/splitters/sentences.py", "import fanfold.fanout.splitters.markdown",
    ),
}  # fmt: skip


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    env = clean_environment() | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_they_hold() -> None:
    checked = lint(ROOT)
    assert checked.returncode == 0, checked.stdout


def test_each_is_broken_by_a_violation(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, statement in VIOLATIONS.values():
        path = tmp_path / "src/fanfold" / name
        path.write_text(f"{path.read_text()}\n{statement}\n")
    checked = lint(tmp_path)
    assert checked.returncode != 0
    broken = [line for line in checked.stdout.splitlines() if line.endswith("BROKEN")]
    for contract in VIOLATIONS:
        assert [line for line in broken if line.startswith(contract)], checked.stdout
    assert "KEPT" not in checked.stdout
