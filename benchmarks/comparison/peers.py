"""What has to be installed first, peers and a profiler: into a folder that git ignores, once for each version."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.server import NotHere

LITELLM, PORTKEY, PY_SPY = "1.106.2", "1.15.2", "0.4.3"
INSTALL_TIMEOUT_S = 900
_END = 800


def litellm(cache: Path) -> Path:
    """Return LiteLLM's program, in a virtual environment of its own."""
    return _of_python("LiteLLM", cache / f"litellm-{LITELLM}", "litellm", f"litellm[proxy]=={LITELLM}")


def py_spy(cache: Path) -> Path:
    """Return py-spy's program, which looks into a running server, in a virtual environment of its own."""
    return _of_python("py-spy", cache / f"py-spy-{PY_SPY}", "py-spy", f"py-spy=={PY_SPY}")


def portkey(cache: Path) -> list[str]:
    """Return the command that starts the Portkey gateway."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHere("Portkey needs node and npm: apt install nodejs npm.")
    folder = cache / f"portkey-{PORTKEY}"
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        install("Portkey", folder, [npm, "install", *options, f"@portkey-ai/gateway@{PORTKEY}"])
    return [node, str(script)]


def _of_python(name: str, folder: Path, program: str, package: str) -> Path:
    found = folder / "bin" / program
    if not found.exists():
        install(name, folder, [sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        install(name, folder, [*pip, package])
    return found


def install(name: str, folder: Path, command: Sequence[str]) -> None:
    """Run one step of an installation. Raises `NotHere` with what it said."""
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)  # a half of it would look whole next time
        said = error.stderr[-_END:].decode(errors="replace")
        raise NotHere(f"{name} could not be installed: {' '.join(command)} said: {said}") from error
    except subprocess.TimeoutExpired as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotHere(f"{name} could not be installed within {INSTALL_TIMEOUT_S} s.") from error
