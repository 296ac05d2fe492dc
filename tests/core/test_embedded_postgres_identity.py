"""Whom the embedded Postgres runs as: root never, whoever calls."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanfold.core.embedded_postgres import OWNER, EmbeddedPostgres
from fanfold.core.postgres_programs import Programs, find_programs, nobodys_programs
from tests.fixtures.embedded_servers import (
    PLAIN_USER,
    query,
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can pass through; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="fanfold-open-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def copied_programs(folder: Path) -> Path:
    """The server where anybody may run it: this checkout may lie in a home that is closed to others."""
    package = find_programs(folder).folder.parents[1]
    shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
    for libraries in package.parent.glob(
        f"{package.name}.libs"
    ):  # where the wheel's maker put what it is linked to
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / "pginstall" / "bin"


def start_as_root() -> list[str]:
    return ["namespace", "nobody", "gave-up-root"] if os.geteuid() == 0 else ["plain"]


@pytest.mark.parametrize("identity", start_as_root())
def test_it_runs_as_root_and_as_a_plain_user(
    identity: str, open_folder: Path, spawn: Callable[..., "subprocess.Popen[str]"]
) -> None:
    binaries = copied_programs(open_folder)
    data_dir = open_folder / "data"
    if identity == "gave-up-root":
        data_dir.mkdir(mode=0o700)
        os.chown(data_dir, 65534, 65534)
        script = PLAIN_USER.replace("sys.argv[1]", repr(str(data_dir))).replace(
            "sys.argv[2]", repr(str(binaries))
        )
        assert spawn(script).communicate(timeout=60)[0].split() == [OWNER, "True"]
        return

    def programs(folder: Path) -> Programs:
        return nobodys_programs(binaries, folder) if identity == "nobody" else find_programs(folder)

    for _warm in (False, True):
        with EmbeddedPostgres(data_dir, programs=programs, fsync="off") as server:
            assert query(server.url(user=OWNER), "SELECT current_user") == OWNER
    assert (data_dir / "postgres").stat().st_uid == (65534 if identity == "nobody" else os.geteuid())


@pytest.mark.parametrize("identity", start_as_root())
def test_who_owns_the_cluster_runs_it(identity: str, open_folder: Path) -> None:
    """Root that comes to a plain user's data runs the server as that user, and the files stay theirs."""
    data_dir = open_folder / "data"
    cluster = data_dir / "postgres"
    cluster.mkdir(parents=True)
    owner = 12345 if identity == "nobody" else os.geteuid()
    os.chown(cluster, owner, -1)

    programs = find_programs(data_dir)

    assert programs.uid == (owner if identity == "nobody" else None)
