"""The scripts a person starts with, without a network: what they do when all is there, and what they say when not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.servers import clean_environment

ROOT = Path(__file__).parents[1]
SCRIPTS = ("scripts/setup", "scripts/run", "scripts/test", ".ci/run")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout without the product, in a path with spaces."""
    copy = tmp_path / "a checkout"
    copy.mkdir()
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (copy / name).write_text("")
    return copy


def start(script: Path, *arguments: str, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [script, *arguments],
        cwd="/",
        env=clean_environment() | {"PIP_NO_INDEX": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(script: Path, *arguments: str, **env: str) -> tuple[int, str]:
    process = start(script, *arguments, **env)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def pretend_installed(checkout: Path, kind: str) -> None:
    """Leave behind what an installation leaves: an interpreter and the stamps that `install.py` itself computes."""
    (checkout / ".venv/bin").mkdir(parents=True, exist_ok=True)
    python = checkout / ".venv/bin/python"
    if not python.is_symlink():
        python.symlink_to(sys.executable)
    code = f"import install, sys; sys.stdout.write(install.digest({kind!r}))"
    scripts = str(checkout / "scripts")
    stamp = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, env=clean_environment() | {"PYTHONPATH": scripts},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (checkout / f".venv/installed-{kind}").write_text(stamp)


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_can_be_started_and_parsed(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_ci_calls_the_tests_and_nothing_more() -> None:
    lines = [
        line for line in (ROOT / ".ci/run").read_text().splitlines() if not line.startswith(("#", "set "))
    ]
    assert lines == ['cd "$(dirname "${BASH_SOURCE[0]}")/.."', './scripts/test "$@"']


class TestSetup:
    def test_it_does_nothing_once_all_is_there(self, checkout: Path) -> None:
        pretend_installed(checkout, "base")
        assert run(checkout / "scripts/setup") == (0, "")
        pretend_installed(checkout, "dev")
        assert run(checkout / "scripts/setup", "--dev") == (0, "")

    def test_the_tests_dependencies_are_asked_for_by_themselves(self, checkout: Path) -> None:
        pretend_installed(checkout, "base")
        code, output = run(checkout / "scripts/setup", "--dev")
        assert code == 1
        assert "A network is needed for the first installation" in output

    def test_a_changed_lock_is_installed_anew(self, checkout: Path) -> None:
        pretend_installed(checkout, "base")
        (checkout / "requirements.lock").write_text("surely-not-there==1.0 --hash=sha256:" + "0" * 64)
        # What is pretended here is the tests' own interpreter, into which a system may let nobody install (PEP 668).
        code, output = run(checkout / "scripts/setup", PIP_BREAK_SYSTEM_PACKAGES="1")
        assert code == 1
        assert "surely-not-there" in output
        assert not (checkout / ".venv/installed-base").exists()

    def test_a_broken_environment_is_made_anew(self, checkout: Path) -> None:
        (checkout / ".venv/bin").mkdir(parents=True)
        (checkout / ".venv/bin/python").symlink_to("/nowhere/python")
        (checkout / "requirements.lock").write_text("surely-not-there==1.0 --hash=sha256:" + "0" * 64)
        code, output = run(checkout / "scripts/setup")
        assert code == 1
        assert "Making .venv with Python" in output
        assert "surely-not-there" in output

    def test_two_at_once_install_one_after_the_other(self, checkout: Path) -> None:
        both = [start(checkout / "scripts/setup") for _ in range(2)]
        outputs = [process.communicate(timeout=300)[0] for process in both]
        assert ["Making .venv" in output for output in outputs].count(True) == 1, outputs

    def test_an_interpreter_that_does_not_fit_is_refused(self, checkout: Path) -> None:
        code, output = run(checkout / "scripts/setup", PYTHON="/bin/false")
        assert code == 1
        assert "PYTHON=/bin/false is no Python 3.11 to 3.13" in output


def test_run_hands_its_arguments_to_the_demo_in_the_checkout(checkout: Path) -> None:
    pretend_installed(checkout, "base")
    (checkout / "fanfold").mkdir()
    (checkout / "fanfold/__main__.py").write_text(
        "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['FANFOLD_DATA_DIR'])"
    )
    code, output = run(checkout / "scripts/run", "--once", FANFOLD_DATA_DIR="mine")
    assert (code, output) == (0, f"['demo', '--once'] {checkout} //mine\n")


class TestSizes:
    def sizes(self, checkout: Path, source: str) -> tuple[int, str]:
        (checkout / "src").mkdir()
        (checkout / "src/module.py").write_text(source)
        return run(checkout / "scripts/check_sizes.py", PYTHONPATH="")

    @pytest.fixture(autouse=True)
    def _executable(self, checkout: Path) -> None:
        script = checkout / "scripts/check_sizes.py"
        script.write_text(f"#!{sys.executable}\n{script.read_text()}")
        script.chmod(0o755)

    def test_short_ones_pass(self, checkout: Path) -> None:
        source = "def short():\n" + "    x = 1\n" * 49
        code, output = self.sizes(checkout, source)
        assert code == 0
        assert "50 src/module.py:1 short" in output

    def test_a_long_function_does_not(self, checkout: Path) -> None:
        code, output = self.sizes(checkout, "async def long():\n" + "    x = 1\n" * 50)
        assert code == 1
        assert "51 src/module.py:1 long  TOO LONG" in output

    def test_nor_does_a_long_file(self, checkout: Path) -> None:
        code, output = self.sizes(checkout, "x = 1\n" * 401)
        assert code == 1
        assert "401 src/module.py  TOO LONG" in output
