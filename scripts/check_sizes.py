"""Refuses files and functions that have grown too long to be read at once, and names the longest."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "tests", "benchmarks", "scripts")  # a migration is history: nobody works on it again
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
SHOWN = 5


def main() -> int:
    """Print the longest files and functions; return 1 where one is too long."""
    files = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    sources = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files}
    lengths = [(len(source.splitlines()), str(path)) for path, source in sources.items()]
    functions = [found for path, source in sources.items() for found in functions_of(path, source)]
    is_well = [report("files", lengths, MAX_FILE_LINES), report("functions", functions, MAX_FUNCTION_LINES)]
    return 0 if all(is_well) else 1


def functions_of(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Yield the length of each function, decorators and functions within it included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}"


def report(what: str, found: list[tuple[int, str]], most: int) -> bool:
    """Print the longest and all that are too long; tell whether none is."""
    longest = sorted(found, reverse=True)
    too_long = [each for each in longest if each[0] > most]
    print(f"{what}: {len(found)}, at most {most} lines each; the longest:")
    for lines, name in longest[: max(SHOWN, len(too_long))]:
        print(f"{lines:6} {name}{'  TOO LONG' if lines > most else ''}")
    return not too_long


if __name__ == "__main__":
    sys.exit(main())
