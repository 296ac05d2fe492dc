"""`docs/benchmarks.md` and its chart, as a run writes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.comparison.chart import panels, svg
from benchmarks.comparison.figures import Measured
from benchmarks.comparison.flames import Flame

ARTICLES: dict[int, tuple[str, str]] = {
    18: ("FastAPI answering JSON", "18,400 requests/s"),
    6: ("FastAPI with a database; ours: one call, reserved and settled", "440 requests/s"),
    16: ("a queue takes jobs in", "1,850 jobs/s at 45 ms"),
    17: ("100,000 rows out", "8.5 s"),
}
_HEAD = """# Benchmarks

Written by `./benchmarks/run`, which anybody can repeat: it installs the peers into `.benchmarks/`, takes turns
(A B A B …) and prints the medians of the rounds. **Read the ratios**: the figures themselves are this machine's.
nginx and wrk come from the system (`apt install nginx-light wrk`), Portkey needs node and npm; what is not there
leaves its figures out. Single rows: `./benchmarks/run --rows 1,6,7`.

![Every figure over its target](benchmarks.svg)
"""
_WHERE = """
## Where our time goes

Flame graphs of the server under load, by py-spy: who calls whom from above to below, as wide as its share of the
samples; ours is coloured. Where `Runner.run` has nothing below it, that is the event loop itself and the kernel's work
for it. Open one by itself: a call says its whole name and its share.
"""
_HOW = """
## How it is measured

- The server under measurement has a core; wrk, the mock upstream and Postgres have another. A server that is not
  being measured is stopped (SIGSTOP), after it has worked off its backlog. Plain HTTP over loopback, a closed loop.
- µs: run time of all threads of the server's processes for a request, from the scheduler. Memory: proportional set
  size of the server's processes. Postgres is not in either; row 9 says what it ran.
- **Ours has everything on**: an API key, rate limits of tenant and key, quota reserved and settled in Postgres with
  fsync on, metrics, logs at the default level. It is started by `fanfold serve`, with its defaults but for loopback
  as an allowed network, 4,000 connections to upstreams and limits of the tenant that hold and are out of the way.
- **Theirs do less**: the tutorial's endpoint (a client for each request), the same with one shared httpx or aiohttp
  client, and nginx know no keys, limits or bills. LiteLLM's proxy has a master key and no database, so no keys of
  tenants and no spend tracking; Portkey's gateway has no keys of its own and counts nothing. Each has one process.
- Rows 6 to 8 and 10 send one prompt of 300 characters: through a gateway as a chat completion, through us as a process
  request for an upstream of the kind `openai`. Rows 1 and 2 send every endpoint the same request.
- Row 8 subtracts the mock's own median; beside it stands what two commits of one changed row to the same Postgres take
  through asyncpg, since a request of ours is reserved in one and settled in another. Row 9's other side is our
  endpoint alone (`benchmarks/comparison/applications/alone.py`), which leaves out authentication, all limits, the
  tenant's upstreams, the ledger, metrics, logs and every middleware: no mode of the product.
- Rows 12 to 17 run on servers of their own, with the benchmarks that are there as `python -m benchmarks.start_up`,
  `open_streams`, `jobs`, `ledger`, `job_intake` and `export`, with logs from warnings on.
"""


def write(
    folder: Path, rows: Sequence[Measured], facts: Iterable[tuple[str, str]], flames: Sequence[Flame] = ()
) -> Path:
    """Write page and chart into `folder`, where the flame graphs are; returns the page's path."""
    (folder / "benchmarks.svg").write_text(svg(panels(rows)), encoding="utf-8")
    path = folder / "benchmarks.md"
    path.write_text(page(rows, facts, flames), encoding="utf-8")
    return path


def page(rows: Sequence[Measured], facts: Iterable[tuple[str, str]], flames: Sequence[Flame] = ()) -> str:
    """Return the page."""
    parts = [_HEAD, *_table(rows), *_orientation(rows), *_flames(flames), _HOW.rstrip(), "", "## On what", ""]
    return "\n".join([*parts, *(f"- {name}: {value}" for name, value in facts), ""])


def _table(rows: Sequence[Measured]) -> Iterator[str]:
    yield _line("#", "measured", "", "figure", "at least", "aim", "", "behind it")
    yield "|--:|---|---|--:|--:|--:|---|---|"
    for row in rows:
        for place, figure in enumerate(row.figures):
            number, title = (str(row.number), row.title) if place == 0 else ("", "")
            shown = f"**{figure.shown(figure.value)}**"
            yield _line(number, title, figure.label, shown, *figure.bounds(), figure.verdict, figure.detail)


def _orientation(rows: Sequence[Measured]) -> Iterator[str]:
    found = {row.number: next((each.absolute for each in row.figures), "") for row in rows}
    yield from (
        "",
        "For orientation, what the usual articles say of their machines beside ours on this one:",
        "",
    )
    yield _line("", "articles", "here")
    yield "|---|--:|--:|"
    for number, (what, theirs) in _known(found):
        yield _line(what, theirs, found[number])


def _flames(flames: Sequence[Flame]) -> Iterator[str]:
    if flames:
        yield _WHERE
        yield "\n\n".join(f"![{each.title}]({each.file})" for each in flames)


def _known(found: Mapping[int, str]) -> Iterator[tuple[int, tuple[str, str]]]:
    return ((number, said) for number, said in ARTICLES.items() if found.get(number))


def _line(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"
