"""Which core a process runs on, and how long it ran: Linux's own figures, of all threads and children."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cores:
    """The server under measurement has one core; the load, the mock and Postgres have the other."""

    server: int
    load: int

    @property
    def are_apart(self) -> bool:
        """Tell whether load and server are on different cores."""
        return self.server != self.load

    def __str__(self) -> str:
        if self.are_apart:
            return f"server on core {self.server}; load, mock and Postgres on core {self.load}"
        return f"server, load, mock and Postgres all on core {self.server}: there is no second one"


def choose(usable: Iterable[int]) -> Cores:
    """Return the first and the last of the cores that may be used."""
    cores = sorted(usable)
    return Cores(server=cores[0], load=cores[-1])


def processes(pid: int) -> Iterator[int]:
    """Yield a process and all its children."""
    yield pid
    for thread in threads(pid):
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield from processes(int(child))


def threads(pid: int) -> list[int]:
    """Return a process's threads; none where it has ended."""
    with suppress(OSError):
        return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    return []


def pin(pid: int, *cores: int) -> None:
    """Keep one process, and whatever it starts from now on, on these cores."""
    for thread in threads(pid):
        with suppress(OSError):
            os.sched_setaffinity(thread, cores)


def cpu_seconds(pid: int) -> float:
    """Return for how long a process's threads have run: less noisy than the clock beside others."""
    total = 0
    for thread in threads(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total / 1e9


def postgres_of(data_dir: Path) -> int:
    """Return the id of the embedded Postgres's first process."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def apart(server: int, data_dir: Path, *others: int) -> None:
    """Give the server one core, and the other to its Postgres, to `others` and to the process that loads it."""
    cores = choose(os.sched_getaffinity(0))
    for first in (postgres_of(data_dir), *others):
        for pid in processes(first):
            pin(pid, cores.load)
    pin(os.getpid(), cores.load)
    pin(server, cores.server)
