"""What the Dockerfile promises, and what its image would run, tried without Docker: the wheel in its own folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.servers import ServerProcess, clean_environment

ROOT = Path(__file__).parents[1]
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.+)$")
USER = 1000


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    found = [INSTRUCTION.match(line) for line in joined.splitlines() if not line.startswith("#")]
    return [(match[1], match[2]) for match in found if match]


def of(name: str) -> list[str]:
    return [value for found, value in instructions() if found == name]


class TestDockerfile:
    def test_two_slim_stages_and_the_last_is_for_serving_alone(self) -> None:
        assert of("FROM") == ["python:3.13-slim AS build", "python:3.13-slim"]
        last = [name for name, _ in instructions()][::-1].index("FROM")
        assert not [value for name, value in instructions()[-last:] if name == "RUN" and "pip" in value]

    def test_only_locked_and_hashed_dependencies_are_installed(self) -> None:
        installs = [part for value in of("RUN") for part in value.split("&&") if "pip " in part]
        assert len(installs) == 3
        assert all("--require-hashes" in part or "--no-index" in part for part in installs)

    def test_it_serves_as_a_plain_user_on_every_address(self) -> None:
        assert of("USER") == [str(USER)]
        names = [name for name, _ in instructions()]
        assert names.index("USER") < names.index("ENTRYPOINT")
        environment = " ".join(of("ENV"))
        assert "FANFOLD_HOST=0.0.0.0" in environment
        assert "FANFOLD_DATA_DIR=/data" in environment
        assert (of("EXPOSE"), of("VOLUME")) == (["8000"], ["/data"])

    def test_one_image_for_every_command(self) -> None:
        assert [json.loads(value) for value in of("ENTRYPOINT") + of("CMD")] == [["fanfold"], ["serve"]]

    def test_what_is_copied_exists_and_is_not_ignored(self) -> None:
        allowed = (ROOT / ".dockerignore").read_text().split()
        copied = [value.split()[:-1] for value in of("COPY") if not value.startswith("--from")]
        sources = [source for each in copied for source in each]
        assert {"src", "alembic", "examples", "requirements.lock"} <= set(sources)
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source}" in allowed


def healthcheck() -> list[str]:
    command: list[str] = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The wheel, built and installed as the Dockerfile does; the dependencies are those of this environment."""
    folder = Path(tempfile.mkdtemp(prefix="fanfold-image-"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    try:
        build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run(build, check=True)
        [wheel] = folder.glob("*.whl")
        subprocess.run([*pip, "install", *offline, "--target", str(folder / "app"), str(wheel)], check=True)
        (folder / "data").mkdir(mode=0o700)
        if plain_user(folder) is not None:
            for path in (folder, folder / "data"):
                os.chown(path, USER, USER)
        yield folder
    finally:
        shutil.rmtree(folder)


def plain_user(folder: Path) -> int | None:
    """Return the image's user where we may become it and it can reach the interpreter, else None: ourselves."""
    if os.geteuid() != 0:
        return None
    folder.chmod(0o755)
    command = [sys.executable, "-c", "import fanfold.main"]
    try:
        asked = subprocess.run(command, user=USER, group=USER, extra_groups=[], cwd="/", check=False)
    except OSError:
        return None
    return USER if asked.returncode == 0 else None


def test_the_wheel_holds_the_migrations_the_sample_and_the_licence(installed: Path) -> None:
    app = installed / "app"
    assert (app / "fanfold/migrations/env.py").is_file()
    assert list((app / "fanfold/migrations/versions").glob("*.py"))
    assert (app / "fanfold/examples/long-text.txt").is_file()
    assert list(app.glob("fanfold-*.dist-info/licenses/LICENSE"))


def test_the_image_serves_migrates_and_reports_its_health(installed: Path) -> None:
    env = {"PYTHONPATH": str(installed / "app"), "FANFOLD_DATA_DIR": str(installed / "data")}
    where = [sys.executable, "-c", "import fanfold; print(fanfold.__file__)"]
    found = subprocess.run(
        where, cwd=installed, env=clean_environment() | env, check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(installed / "app"))
    with ServerProcess(installed, env=env, user=plain_user(installed)) as server:
        asked = clean_environment() | env | {"FANFOLD_PORT": str(server.port)}
        assert subprocess.run(healthcheck(), env=asked, check=False).returncode == 0
        assert "Postgres is the embedded one" in server.log
    assert subprocess.run(healthcheck(), env=asked, check=False, capture_output=True).returncode != 0
    assert not server.has_postgres()
