"""What a sign-in costs others and tells a stranger.

(a) Passwords are hashed in threads: how long `/healthz` takes while 100 people sign in at once, beside a process that
hashes on its loop. (b) Medians of sign-in, forgot-password and register for addresses with an account and without one,
in turns: whoever measures learns nothing.

Each request comes from a client address of its own, by a trusted proxy's header.

    python -m benchmarks.sign_in [--logins 100] [--tries 200]
"""

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from fanfold.core.config import DatabaseSettings, Settings
from fanfold.resources import open_database
from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository

PASSWORD = "seven green kites at noon"
_PORT = 18_473  # of no other program here
_MANY = "1000000/minute"


def settings_of(folder: Path) -> dict[str, str]:
    """Return a server's settings: limits by address and account are out of the way."""
    return {
        "FANFOLD_DATA_DIR": str(folder / "data"),
        "FANFOLD_PORT": str(_PORT),
        "FANFOLD_TRUSTED_PROXIES": "127.0.0.0/8",
        "FANFOLD_LOGIN_RATE": _MANY,
        "FANFOLD_REGISTER_RATE": _MANY,
        "FANFOLD_FORGOT_PASSWORD_RATE": _MANY,
        "FANFOLD_PASSWORD_QUEUE": "1000",
        "FANFOLD_JWT_ALGORITHM": "ES256",
        "FANFOLD_LOG_LEVEL": "ERROR",
        "FANFOLD_MAIL_URL": f"file://{folder}/mail",
    }


@contextmanager
def server(folder: Path, env: dict[str, str]) -> Iterator[str]:
    """Run a server of its own, with its embedded Postgres, while the body runs."""
    url = f"http://127.0.0.1:{_PORT}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fanfold", "serve"], cwd=folder, env=env, stdout=log, stderr=log
        )
        try:
            _wait_ready(process, url)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError("the server ended: see server.log")
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server is not ready")


def known_address(number: int) -> str:
    """Return the address of one of the people there are."""
    return f"known-{number}@example.com"


async def create(folder: Path, people: int) -> None:
    """Put so many people into the server's database, all with one password."""
    passwords = Passwords(threads=1, queue=1)
    hashed = passwords.hash(PASSWORD)
    passwords.close()
    settings = Settings(database=DatabaseSettings(data_dir=folder / "data"))
    async with open_database(settings) as database, database.identity_session() as session, session.begin():
        for email in map(known_address, range(people)):
            await UserRepository(session).create(
                {"email": email, "email_key": email, "hashed_password": hashed, "is_verified": True}
            )


def from_anywhere() -> dict[str, str]:
    """Return headers of a client address of its own."""
    return {"X-Forwarded-For": f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"}


async def sign_in(http: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    form = {"username": email, "password": password}
    return await http.post("/v1/auth/token", data=form, headers=from_anywhere())


async def forget(http: httpx.AsyncClient, email: str) -> httpx.Response:
    return await http.post("/v1/auth/forgot-password", json={"email": email}, headers=from_anywhere())


async def register(http: httpx.AsyncClient, email: str) -> httpx.Response:
    body = {"email": email, "password": PASSWORD}
    return await http.post("/v1/auth/register", json=body, headers=from_anywhere())


@asynccontextmanager
async def probed(probe: Callable[[], Awaitable[Any]], *, every_s: float) -> AsyncIterator[list[float]]:
    """Time `probe` over and over while the body runs; ms."""
    times: list[float] = []

    async def look() -> None:
        while True:
            start = time.perf_counter()
            await probe()
            times.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(look())
    try:
        yield times
    finally:
        task.cancel()


async def _healthz() -> Callable[[], Awaitable[Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)

    async def ask() -> None:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        await reader.readexactly(int(fields[b"content-length"]))

    return ask


async def crowd(url: str, email: str, logins: int) -> list[float]:
    """Return how long /healthz took, in ms, while so many signed in at once; each must succeed."""
    limits = httpx.Limits(max_connections=logins)
    async with (
        httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as http,
        probed(await _healthz(), every_s=0.005) as times,
    ):
        answers = await asyncio.gather(*(sign_in(http, email, PASSWORD) for _ in range(logins)))
    assert {answer.status_code for answer in answers} == {200}
    return times


async def on_the_loop(logins: int) -> list[float]:
    """Return the same of a loop that verifies as many passwords itself, one after the other as they come."""
    passwords = Passwords(threads=1, queue=1)
    hashed = passwords.hash(PASSWORD)

    async def tick() -> None:
        await asyncio.sleep(0.001)

    async def verify() -> None:
        await asyncio.sleep(0)
        assert passwords.verify_and_update(PASSWORD, hashed)[0]

    async with probed(tick, every_s=0) as times:
        await asyncio.sleep(0.05)
        await asyncio.gather(*(verify() for _ in range(logins)))
        await asyncio.sleep(0.05)
    passwords.close()
    return times


async def medians(url: str, tries: int) -> dict[str, tuple[float, float]]:
    """Return for each way the medians in ms for the known address and for unknown ones, asked in turns."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        ways: dict[str, tuple[Callable[[str], Awaitable[httpx.Response]], int]] = {
            "sign-in, wrong password": (lambda who: sign_in(http, who, "wrong"), 400),
            "forgot-password": (lambda who: forget(http, who), 202),
            "register": (lambda who: register(http, who), 202),
        }
        return {name: await _turns(way, status, tries) for name, (way, status) in ways.items()}


async def _turns(
    way: Callable[[str], Awaitable[httpx.Response]], status: int, tries: int
) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(tries):
        for known in (0, 1) if number % 2 else (1, 0):
            who = known_address(number) if known == 0 else f"{secrets.token_hex(8)}@example.com"
            start = time.perf_counter()
            answer = await way(who)
            times[known].append((time.perf_counter() - start) * 1e3)
            assert answer.status_code == status, answer.text
    return statistics.median(times[0]), statistics.median(times[1])


def percentile(times: list[float], share: float) -> float:
    """Return the value below which that share of the times lies."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


async def compare(url: str, *, logins: int, tries: int) -> tuple[Table, Table]:
    """Measure both, and return their tables."""
    held, free = (
        Table(title=f"ms of a probe while {logins} sign in at once"),
        Table(title=f"medians of {tries} tries, ms"),
    )
    for name in ("hashed", "probes", "p50", "p99", "longest"):
        held.add_column(name, justify="right")
    for name, times in (
        ("in threads, /healthz", await crowd(url, known_address(0), logins)),
        ("on the loop", await on_the_loop(logins)),
    ):
        figures = (f"{percentile(times, share):,.1f}" for share in (0.5, 0.99, 1.0))
        held.add_row(name, str(len(times)), *figures)
    for name in ("asked", "known", "unknown", "difference"):
        free.add_column(name, justify="right")
    for name, (known, unknown) in (await medians(url, tries)).items():
        free.add_row(name, f"{known:.2f}", f"{unknown:.2f}", f"{abs(known - unknown):.2f}")
    return held, free


def main(logins: int = 100, tries: int = 200) -> None:
    """Measure sign-ins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = {
            each: value
            for each, value in os.environ.items()
            if not each.startswith(("FANFOLD_", "DATABASE_URL"))
        }
        env = ours | settings_of(folder)
        with server(folder, env) as url:
            asyncio.run(create(folder, max(1, tries)))
            for table in asyncio.run(compare(url, logins=logins, tries=tries)):
                Console().print(table)


if __name__ == "__main__":
    typer.run(main)
