"""Which processes serve together, and the directory where they keep their counts for each other.

The directory belongs to one parent on one host. It is alive while one of its workers holds its lock, so nothing of an
earlier run is ever summed, and nobody needs to tell the parent anything. prometheus_client's own files lie in it.
"""

import fcntl
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

LOCK_PATIENCE_S = 2.0
_TRIES = 50


def is_worker() -> bool:
    """Tell whether this process is one of several: of uvicorn's and `serve`'s workers, or of gunicorn's."""
    return multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules


class WorkerGroup:
    """The workers of one parent, seen from one of them."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def join(cls, root: Path | None = None) -> Self:
        """Enter this process's group, emptying its directory if no other worker is in it.

        Raises `RuntimeError` where somebody else owns the directory, or keeps changing it.
        """
        root = root or Path(tempfile.gettempdir()) / f"fanfold-{os.geteuid()}"
        _own(root)
        own = f"{socket.gethostname()}-{os.getppid()}"
        _remove_dead_groups(root, own)
        for _ in range(_TRIES):
            if (descriptor := _enter(root / own)) is not None:
                return cls(root / own, descriptor)
        raise RuntimeError(f"The directory of the workers' metrics could not be locked: {root / own}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the files as they are, after taking in those of workers that have died."""
        self._fold_dead()
        with _lock(self.path / "files.lock", fcntl.LOCK_SH):
            yield

    def _fold_dead(self) -> None:
        if not self._dead():
            return
        with _lock(self.path / "files.lock", fcntl.LOCK_EX) as held:
            dead = self._dead() if held else []
            for kind in ("counter", "histogram"):
                _fold(self.path, kind, [path for path in dead if path.name.startswith(kind)])
            for path in dead:
                path.unlink(missing_ok=True)

    def _dead(self) -> list[Path]:
        return [path for path in self.path.glob("*_*.db") if not _lives(int(path.stem.rpartition("_")[2]))]

    def leave(self) -> None:
        """Let go of the group; the last worker's leaving lets the next one empty the directory."""
        os.close(self._descriptor)


def _own(root: Path) -> None:
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if found.st_uid != os.geteuid() or not root.is_dir() or root.is_symlink():
        raise RuntimeError(f"Somebody else made {root}. Remove it, or set TMPDIR.")


def _enter(path: Path) -> int | None:
    """Return the descriptor that holds the group's lock, or None if the directory was removed meanwhile."""
    path.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(path / "alive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    if _try(descriptor, fcntl.LOCK_EX):  # nobody else is here: whatever lies here is of the past
        _empty(path)
    # Giving up the one lock for the other may let a second worker empty the directory too; nothing is in it yet.
    if _wait(descriptor, fcntl.LOCK_SH) and _is_at(descriptor, path / "alive.lock"):
        return descriptor
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    return False


def _empty(path: Path) -> None:
    for old in path.glob("*.db*"):
        old.unlink(missing_ok=True)


def _remove_dead_groups(root: Path, own: str) -> None:
    """Remove what earlier parents of this host left."""
    host = own.rpartition("-")[0]
    for path in root.glob(f"{host}-*"):
        if path.name == own:
            continue
        with suppress(FileNotFoundError):
            descriptor = os.open(path / "alive.lock", os.O_RDWR | os.O_CLOEXEC)
            if _try(descriptor, fcntl.LOCK_EX):
                shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _fold(directory: Path, kind: str, dead: list[Path]) -> None:
    """Add the counts of dead workers to those of process 0, which is no process: sums never go down."""
    if not dead:
        return
    folded = directory / f"{kind}_0.db"
    sources = [str(path) for path in (folded, *dead) if path.exists()]
    fresh = directory / f"{kind}.new"
    fresh.unlink(missing_ok=True)
    sums = MmapedDict(str(fresh))
    for metric in MultiProcessCollector.merge(sources, accumulate=False):
        for sample in metric.samples:
            names, values = list(sample.labels), list(sample.labels.values())
            sums.write_value(
                mmap_key(metric.name, sample.name, names, values, metric.documentation), sample.value, 0.0
            )
    sums.close()
    fresh.replace(folded)


def _lives(pid: int) -> bool:
    if pid == 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _lock(path: Path, kind: int) -> Iterator[bool]:
    """Hold a lock if it can be had within `LOCK_PATIENCE_S`; tells whether."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _wait(descriptor, kind)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, kind: int) -> bool:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while not _try(descriptor, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
