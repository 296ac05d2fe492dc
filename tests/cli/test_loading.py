"""A command line imports its own command alone, and `--help` knows all."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fanfold.cli
from fanfold.cli.commands import COMMANDS, wanted
from tests.cli.running import SECRET, Cli
from tests.fixtures.database import TestDatabase, TestServer
from tests.fixtures.servers import clean_environment


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (["keys", "create", "--tenant", "demo"], ("keys",)),
        (["--json", "tenants", "list"], ("tenants",)),
        (["--version"], ()),
        (["--help"], COMMANDS),
        (["tenats"], COMMANDS),
    ],
)
def test_what_a_line_wants(line: list[str], names: tuple[str, ...]) -> None:
    assert wanted(line) == names


def test_help_names_every_command(cli: Cli) -> None:
    shown = cli("--help").stdout
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_a_misspelt_command_is_told_the_right_one(cli: Cli) -> None:
    assert "Did you mean 'tenants'?" in cli.refused("tenats", code=2)


def test_other_commands_are_not_imported() -> None:
    listing = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    report = f"{listing}; from fanfold.cli import app; app(['openapi'])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert "fanfold.cli.openapi" in done.stderr.split()
    assert "fanfold.cli.demo" not in done.stderr.split()


def test_every_command_has_its_file() -> None:
    folder = Path(fanfold.cli.__file__).parent
    assert all((folder / f"{name}.py").exists() for name in COMMANDS)


def test_models_that_an_import_brings_are_built_when_they_are_used() -> None:
    """Bodies with their routes, or FastAPI's fields of them would warn; those that are most asked for at once."""
    lines = [
        "import atexit, sys",
        "built = lambda: [model.__pydantic_complete__ for model in (OpenAPI, StatusEvent, WebhookCreate, JobCreate)]",
        "from fanfold.cli import app",
        "atexit.register(lambda: print(before, built(), BaseModel.model_config, file=sys.stderr))",
        "from fanfold.cli.commands import add",
        "from typer.core import TyperGroup",
        "add(TyperGroup(), ['openapi'])",
        "from fanfold.jobs.event_schemas import StatusEvent",
        "from fanfold.jobs.intake_schemas import JobCreate",
        "from fanfold.webhooks.schemas import WebhookCreate",
        "from fastapi.openapi.models import OpenAPI",
        "from pydantic import BaseModel",
        "before = built()",
        "app(['openapi'])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[False, False, False, True] [True, True, True, True] {}"


@pytest.fixture(scope="module")
def database(test_server: TestServer) -> Iterator[TestDatabase]:
    """One of its own: what others sealed with another secret key opens for no server of this one."""
    made = test_server.create(template=test_server.ensure_template())
    yield made
    test_server.drop(made)


@pytest.fixture(scope="module")
def served(database: TestDatabase) -> set[str]:
    """The modules of a server that is ready, has built every route, and does nobody's jobs."""
    lines = [
        "import asyncio, sys",
        "from types import SimpleNamespace",
        "import fanfold.cli.serve, fanfold.main",
        "from fanfold.operation import readiness_checks",
        "from fastapi.encoders import jsonable_encoder",
        "app = fanfold.main.app",
        "async def serve():",
        "    async with app.router.lifespan_context(app):",
        "        for check in readiness_checks(app).values(): await check()",
        "asyncio.run(serve())",
        "for route in app.routes: getattr(route, 'app')",
        "jsonable_encoder(SimpleNamespace(unknown=1))",
        "print(*sys.modules)",
    ]
    env = {
        **clean_environment(),
        "FANFOLD_DATABASE_URL": database.app_url,
        "FANFOLD_SECRET_KEYS": SECRET,
        "FANFOLD_JOBS_WORKER": "false",
    }
    command = [sys.executable, "-c", "\n".join(lines)]

    def start() -> set[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    start()  # the first one on a database makes the key that signs tokens
    return start()


@pytest.mark.parametrize(
    "library",
    [
        "aiohttp",
        "aiosmtplib",
        "alembic",
        "cryptography.x509",
        "email.headerregistry",
        "fastapi_users",
        "httpx",
        "jinja2",
        "jmespath",
        "jose",
        "jwt",
        "passlib",
        "pgqueuer",
        "pydantic.v1",
        "pygments",
        "pyotp",
        "rich",
        "slowapi",
        "toktok",
        "websockets",
        "zxcvbn_rs_py",
    ],
)
def test_a_server_starts_without_what_it_may_never_use(served: set[str], library: str) -> None:
    assert "fanfold.processing.router" in served
    assert library not in served
