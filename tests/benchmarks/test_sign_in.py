"""The benchmark of sign-ins runs, in a small size: it measures what it says, and asserts no speed."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.servers import clean_environment


def test_it_prints_both_tables():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sign_in", "--logins", "3", "--tries", "2"],
        cwd=Path(__file__).parents[2],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for said in (
        "in threads, /healthz",
        "on the loop",
        "sign-in, wrong password",
        "forgot-password",
        "register",
    ):
        assert said in done.stdout
