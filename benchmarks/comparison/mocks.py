"""The mock upstreams of a run: nginx where it is, for the runs without delay; ours in Python for those with one."""

import shutil
import sys
from pathlib import Path

from benchmarks.comparison.load import Call
from benchmarks.comparison.mock import CHAT, RESULT
from benchmarks.comparison.server import NotHere
from benchmarks.comparison.stage import Stage, free_port
from benchmarks.comparison.turns import Contestant

CONFIGURATIONS = Path(__file__).with_name("configurations")
CHAT_PATH = "/v1/chat/completions"
NGINX_MISSING = "nginx is not here: apt install nginx-light, or build it from its repository."


def instant(stage: Stage) -> str:
    """Return host and port of the mock that answers at once."""

    def start() -> str:
        if shutil.which("nginx") is None:
            return delayed(stage)
        port = free_port()
        command = nginx(stage, "nginx_mock.conf", PORT=str(port), RESULT=RESULT, CHAT=CHAT)
        ready = f"http://127.0.0.1:{port}/instant"
        stage.serve("mock by nginx", command, ready=ready, is_measured=False)
        return f"127.0.0.1:{port}"

    return stage.once("mock by nginx", start)


def delayed(stage: Stage) -> str:
    """Return host and port of the mock that can take its time."""

    def start() -> str:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.comparison.mock", str(port)]
        ready = f"http://127.0.0.1:{port}/instant"
        stage.serve("mock in Python", command, ready=ready, is_measured=False)
        return f"127.0.0.1:{port}"

    return stage.once("mock in Python", start)


def directly(stage: Stage, body: bytes) -> Contestant:
    """Return the mock itself as a contestant: what nobody between can be faster than."""
    return Contestant("mock", Call(f"http://{instant(stage)}{CHAT_PATH}", body))


def nginx(stage: Stage, name: str, **values: str) -> list[str]:
    """Fill in a configuration and return the command that runs nginx with it."""
    program = shutil.which("nginx")
    if program is None:
        raise NotHere(NGINX_MISSING)
    path = filled_in(stage.folder, name, FOLDER=str(stage.folder), **values)
    return [program, "-p", str(stage.folder), "-c", str(path), "-g", "daemon off;"]


def filled_in(folder: Path, name: str, **values: str) -> Path:
    """Write a configuration with its values in the place of @NAME@ into `folder`; returns its path."""
    text = (CONFIGURATIONS / name).read_text()
    for place, value in values.items():
        text = text.replace(f"@{place}@", value)
    path = folder / name
    path.write_text(text)
    return path
