"""The gateways beside us: one chat completion through each, with its default settings and one process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.comparison import peers
from benchmarks.comparison.load import Call
from benchmarks.comparison.mocks import CHAT_PATH, filled_in, instant, nginx
from benchmarks.comparison.server import NotHere
from benchmarks.comparison.stage import Stage, free_port
from benchmarks.comparison.turns import Contestant

PROMPT = "x" * 300
CHAT_BODY = json.dumps({"model": "mock", "messages": [{"role": "user", "content": PROMPT}]}).encode()
_KEY = "sk-bench"
T = TypeVar("T")


def yardstick(stage: Stage) -> Contestant:
    """Nginx with `proxy_pass`: no key, no limit, no bill."""

    def start() -> Contestant:
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = nginx(stage, "nginx_proxy.conf", PORT=str(port), MOCK=instant(stage))
        server = stage.serve("nginx", command, ready=f"{url}/instant")
        return Contestant("nginx", Call(url + CHAT_PATH, CHAT_BODY), server)

    return stage.once("nginx", start)


def litellm(stage: Stage) -> Contestant:
    """LiteLLM's proxy with a master key, without its database: no keys of tenants, no spend tracking."""

    def start() -> Contestant:
        program = _peer(stage, peers.litellm)
        port, mock = free_port(), instant(stage)
        configuration = filled_in(stage.folder, "litellm.yaml", MOCK=mock, KEY=_KEY)
        options = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        url = f"http://127.0.0.1:{port}"
        server = stage.serve(
            "LiteLLM",
            [str(program), "--config", str(configuration), *options],
            ready=f"{url}/health/liveliness",
            environment={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
        call = Call(url + CHAT_PATH, CHAT_BODY, {"authorization": f"Bearer {_KEY}"})
        return Contestant("LiteLLM", call, server)

    return stage.once("LiteLLM", start)


def portkey(stage: Stage) -> Contestant:
    """Portkey's gateway, which has no keys of its own and counts nothing."""

    def start() -> Contestant:
        command = _peer(stage, peers.portkey)
        url = f"http://127.0.0.1:{(port := free_port())}"
        server = stage.serve(
            "Portkey",
            [*command, "--headless", f"--port={port}"],
            ready=url,
            environment={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        )
        headers = {
            "authorization": "Bearer sk-up",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://{instant(stage)}/v1",
        }
        return Contestant("Portkey", Call(url + CHAT_PATH, CHAT_BODY, headers), server)

    return stage.once("Portkey", start)


def _peer(stage: Stage, install: Callable[[Path], T]) -> T:
    if not stage.has_peers:
        raise NotHere("left out by --no-peers")
    stage.tell("installing what is not here yet")
    return install(stage.cache)
