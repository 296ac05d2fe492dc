"""How long this process has been running, its start and its imports included."""

import os
import time
from pathlib import Path

_imported_at = time.monotonic()
_START_TIME = 22 - 3  # field 22 of proc(5)'s stat, counted from the third, which follows the command's name


def age_s() -> float:
    """Return the seconds since the kernel started this process; elsewhere than on Linux since this import."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _imported_at
