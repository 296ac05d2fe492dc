"""What a tree of processes has cost: run time and memory, as the kernel counts them (Linux)."""

import re
from contextlib import suppress
from pathlib import Path

from benchmarks.cores import processes, threads

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def cpu_s(pid: int) -> float:
    """Return the seconds that all threads of the tree have run, from the scheduler's own count in nanoseconds."""
    spent = 0
    for each in processes(pid):
        for thread in threads(each):
            with suppress(OSError):
                spent += int(Path(f"/proc/{each}/task/{thread}/schedstat").read_text().split()[0])
    return spent / 1e9


def pss_mb(pid: int) -> float:
    """Return the tree's memory in MB, shared pages divided among those who share them (proportional set size)."""
    kib = 0
    for each in processes(pid):
        with suppress(OSError):
            found = _PSS.search(Path(f"/proc/{each}/smaps_rollup").read_text())
            kib += int(found[1]) if found else 0
    return kib * 1024 / 1e6
