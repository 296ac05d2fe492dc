"""Load by wrk, in a closed loop: so many connections, each asking again as soon as it is answered."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.comparison.server import NotHere

SCRIPT = Path(__file__).with_name("request.lua")
CUT_S = 10
MAX_LENGTH_RATIO = 1.3
_RESULT = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)


class Wrong(Exception):
    """A contestant's answers were not what they must be, so that its figures say nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be made over and over: a POST of JSON, or a GET without a body."""

    url: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def probe(self) -> httpx.Response:
        """Make it once and return the answer; raises `Wrong` where a call failed, also one within a fan-out."""
        headers = {**self.headers, "content-type": "application/json"}
        method = "GET" if self.body is None else "POST"
        answer = httpx.request(method, self.url, content=self.body, headers=headers, timeout=60)
        told = answer.json() if answer.is_success else {}
        if not answer.is_success or told.get("successful") != told.get("total"):
            raise Wrong(f"{self.url} answered {answer.status_code}: {answer.text[:500]}")
        return answer


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a stretch of load has seen."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second; none where it was cut before the first answer."""
        return self.requests / self.seconds


def load(call: Call, length: int, *, connections: int, seconds: float, folder: Path) -> Loaded:
    """Ask for `seconds`, knowing how long a right answer's body is.

    Raises `Wrong` where something else than right answers came, and `NotHere` without wrk.
    """
    if shutil.which("wrk") is None:
        raise NotHere("wrk makes the load: apt install wrk, or build it from its repository.")
    whole = max(1, round(seconds))  # wrk takes no parts of a second
    options = ["-t1", f"-c{connections}", f"-d{whole}s", "--timeout", f"{CUT_S}s", "-s", str(SCRIPT)]
    done = subprocess.run(
        ["wrk", *options, call.url],
        env={**os.environ, **_environment(call, folder)},
        capture_output=True,
        text=True,
        timeout=whole + 60,
        check=False,
    )
    return judged(done.stdout + done.stderr, call.url, length)


def judged(output: str, url: str, length: int) -> Loaded:
    """Read wrk's result; `length` is that of a right answer's body."""
    found = _RESULT.search(output)
    if found is None:
        raise Wrong(f"wrk said nothing of {url}: {output[-500:]}")
    result: dict[str, Any] = json.loads(found[1])
    if result["refused"]:
        raise Wrong(f"{url}: {result['refused']} of {result['requests']} answers were no 2xx")
    if result["broken"] > 1 + result["requests"] / 100:
        raise Wrong(f"{url}: {result['broken']} requests were not answered, {result['requests']} were")
    mean = result["bytes"] / (result["requests"] or 1)
    if (
        result["requests"] and not length / MAX_LENGTH_RATIO <= mean <= (length + 1500) * MAX_LENGTH_RATIO
    ):  # 1500: the headers
        raise Wrong(f"{url} answered {mean:.0f} bytes a request, {length} were right")
    return Loaded(
        requests=result["requests"],
        seconds=result["duration_us"] / 1e6,
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
    )


def _environment(call: Call, folder: Path) -> dict[str, str]:
    environment = {"BENCH_HEADERS": str(len(call.headers))}
    for number, (name, value) in enumerate(call.headers.items(), start=1):
        environment |= {f"BENCH_NAME_{number}": name, f"BENCH_VALUE_{number}": value}
    if call.body is not None:
        path = folder / "body.json"
        path.write_bytes(call.body)
        environment["BENCH_BODY"] = str(path)
    return environment
