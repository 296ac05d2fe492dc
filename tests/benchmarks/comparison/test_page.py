"""The page and its chart: every figure is there beside its target, and a chart that any reader of XML can read."""

from pathlib import Path
from xml.etree import ElementTree

from benchmarks.comparison.chart import Bar, Panel, panels, svg
from benchmarks.comparison.figures import Figure, Measured, Target
from benchmarks.comparison.page import page, write

MET = Figure(
    label="10 chunks",
    value=45.3,
    target=Target(37, 50),
    detail="tutorial 40/s · fanfold 1,812/s",
    rates={"tutorial": 40.0, "shared httpx": 0.0, "fanfold": 1812.0},
    drawn_as="fan-out <10>",
)
TAIL = Figure(label="p99 | p50", value=6.0, target=Target(3, 1.8, is_ceiling=True))
ABSENT = Figure(label="over LiteLLM", value=None, target=Target(60, 150), detail="left out\nby --no-peers")
HEALTH = Figure(label="of raw", value=0.7, target=Target(0.6, 0.9), absolute="20,000 requests/s")
ROWS = [
    Measured(1, "fan-out <10>", [MET, TAIL]),
    Measured(7, "over gateways", [ABSENT]),
    Measured(18, "`/healthz`", [HEALTH]),
]
SVG = "{http://www.w3.org/2000/svg}"


def bars(drawn: list[Panel]) -> dict[str, Bar]:
    return {bar.label: bar for bar in drawn[-1].bars}


def test_the_table_has_every_figure_beside_its_target():
    written = page(ROWS, [("day", "2026-11-22")])
    assert (
        "| 1 | fan-out <10> | 10 chunks | **45.3 ×** | 37 × | 50 × | met | tutorial 40/s · fanfold 1,812/s |"
        in written
    )
    assert "|  |  | p99 / p50 | **6.00 ×** | ≤ 3 × | ≤ 1.8 × | not met |  |" in written
    assert (
        "| 7 | over gateways | over LiteLLM | **–** | 60 × | 150 × | not here | left out by --no-peers |"
        in written
    )
    assert "- day: 2026-11-22" in written


def test_what_articles_say_stands_beside_what_was_measured_and_nothing_else():
    written = page(ROWS, [])
    assert "| FastAPI answering JSON | 18,400 requests/s | 20,000 requests/s |" in written
    assert "100,000 rows out | 8.5 s" not in written


def test_a_bar_is_as_long_as_the_figure_is_over_its_target_also_under_a_ceiling():
    found = bars(panels(ROWS))
    assert found["1 · 10 chunks"].value == 45.3 / 37
    assert found["1 · 10 chunks"].aim == 50 / 37
    assert found["1 · p99 | p50"].value == 0.5
    assert found["1 · p99 | p50"].kind == "missed"
    assert "7 · over LiteLLM" not in found


def test_contestants_are_drawn_the_fastest_first_without_those_that_never_answered():
    first = panels(ROWS)[0]
    assert first.title.startswith("fan-out <10>: ")
    assert [(bar.label, bar.kind) for bar in first.bars] == [("fanfold", "own"), ("tutorial", "other")]


def test_the_chart_is_xml_with_a_bar_for_each_and_text_in_both_colours_of_page():
    drawn = svg(panels(ROWS))
    root = ElementTree.fromstring(drawn)
    assert len(root.findall(f".//{SVG}rect")) == 2 + 3
    assert "prefers-color-scheme: dark" in drawn
    assert "fan-out &lt;10&gt;" in drawn


def test_longer_bars_are_of_larger_values():
    drawn = svg([Panel("rates", [Bar("a", 1000, "1,000"), Bar("b", 10, "10")])])
    widths = [float(rect.attrib["width"]) for rect in ElementTree.fromstring(drawn).findall(f".//{SVG}rect")]
    assert widths[0] > widths[1] > 0


def test_one_single_bar_can_be_drawn_too():
    assert "1,000" in svg([Panel("rates", [Bar("a", 1000, "1,000")])])


def test_both_files_are_written(tmp_path: Path):
    assert write(tmp_path, ROWS, []) == tmp_path / "benchmarks.md"
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<svg")
    assert "(benchmarks.svg)" in (tmp_path / "benchmarks.md").read_text()
