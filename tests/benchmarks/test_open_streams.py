"""The benchmark of open streams runs, in a small size: it measures what it says, and asserts no speed."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.servers import clean_environment


def test_it_prints_memory_for_each_stream_and_both_cases():
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.open_streams", "--streams", "20", "--tenants", "1",
            "--seconds", "0.5", "--rounds", "1",
        ],
        cwd=Path(__file__).parents[2],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr  # 1: over the bound, which 20 streams do not judge
    for said in ("20 open", "alone", "beside", "ratio", "KiB more of the server"):
        assert said in done.stdout, done.stdout + done.stderr
