"""Commands run in this process, with settings of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import Result

from tests.fixtures.servers import clean_environment, run_cli

SECRET = "a secret of the tests that is long enough to be taken"


class Cli:
    """Runs commands with settings of their own."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __call__(self, *arguments: str, text: str | None = None, **env: str) -> Result:
        return run_cli(*arguments, env=self.env | env, text=text)

    def json(self, *arguments: str, **env: str) -> Any:
        result = self(*arguments, "--json", **env)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: str, code: int = 1, **env: str) -> str:
        """Run a command that must be refused in one line without a traceback, the same with and without `--json`."""
        result = self(*arguments, **env)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("Error") == 1
        as_json = self("--json", *arguments, **env)
        assert as_json.exit_code == code
        text: str = json.loads(as_json.stdout)["error"]
        assert text in result.stderr
        return text


def run_module(module: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
