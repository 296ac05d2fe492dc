"""The benchmark of starts runs, in a small size: it measures what it says, and asserts no speed."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.servers import clean_environment


def test_it_prints_both_starts_and_memory_idle_and_under_load():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.start_up", "--rounds", "1", "--seconds", "0.5", "--clients", "4"],
        cwd=Path(__file__).parents[2],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr  # 1: over a bound, which is not judged here
    for said in ("embedded, started too", "runs already", "idle MB", "under 4 clients"):
        assert said in done.stdout, done.stdout + done.stderr
