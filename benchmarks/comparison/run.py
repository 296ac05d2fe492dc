"""A run: the rows that were asked for, one after the other, on one stage."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from types import FrameType

from benchmarks.comparison.figures import Figure, Measured
from benchmarks.comparison.load import Wrong
from benchmarks.comparison.rows.registry import ROWS
from benchmarks.comparison.server import NotHere
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Pace
from benchmarks.cores import choose, pin

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".benchmarks"
SETTINGS = ("FANFOLD_", "DATABASE_URL", "PORT", "SECRET_KEY", "PG")


@contextmanager
def stage_of(pace: Pace, *, has_peers: bool, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Open a stage; this process is on the load's core from now on, with all that it starts but the servers."""
    _forget_settings()
    chosen = choose(os.sched_getaffinity(0))
    pin(os.getpid(), chosen.load)
    signal.signal(signal.SIGTERM, _end)  # so that servers are stopped, the paused ones too
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as folder, ExitStack() as stack:
        stack.enter_context(chdir(folder))  # where no `.env` counts
        yield Stage(
            folder=Path(folder),
            cache=CACHE,
            cores=chosen,
            pace=pace,
            stack=stack,
            tell=tell,
            has_peers=has_peers,
        )


def measured(stage: Stage, numbers: Sequence[int], tell: Callable[[str], None]) -> Iterator[Measured]:
    """Measure rows in order; one that cannot be measured says why and stops none of the others."""
    for number in numbers:
        row = ROWS[number]
        tell(row.title)
        try:
            figures = row.measure(stage)
        except (NotHere, Wrong) as reason:
            figures = [Figure(label="", value=None, detail=str(reason))]
        except Exception as error:  # noqa: BLE001 - whatever a row's servers do, the others are measured all the same
            figures = [Figure(label="", value=None, detail=f"failed: {error!r}")]
        yield Measured(number, row.title, figures)


def _forget_settings() -> None:
    """Leave out settings of whoever runs this, and let servers find this checkout from any folder."""
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)
