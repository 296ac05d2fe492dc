"""Flame graphs: drawn while the load runs, shown on the page; a profiler that cannot look says why."""

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.comparison.flame_graph import svg, tree
from benchmarks.comparison.flames import FLAMES, recording
from benchmarks.comparison.page import page
from benchmarks.comparison.server import NotHere

SVG = "{http://www.w3.org/2000/svg}"


def a_profiler(folder: Path, script: str) -> Path:
    program = folder / "py-spy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return program


def test_a_process_is_recorded_until_its_stacks_are_there(tmp_path: Path):
    file = tmp_path / "stacks.txt"
    told = tmp_path / "told"
    program = a_profiler(tmp_path, f'echo "$@" > {told}; sleep 0.2; echo "a;b 1" > {file}')
    with recording(program, os.getpid(), file):
        pass
    assert file.read_text() == "a;b 1\n"
    assert told.read_text().startswith(f"record --pid {os.getpid()} ")
    assert f"--output {file}" in told.read_text()


@pytest.mark.parametrize("script", ["echo Permission denied >&2; exit 1", "echo Permission denied >&2"])
def test_a_profiler_that_may_not_look_says_why(tmp_path: Path, script: str):
    with (
        pytest.raises(NotHere, match=r"py-spy saw nothing: Permission denied"),
        recording(a_profiler(tmp_path, script), os.getpid(), tmp_path / "stacks.txt"),
    ):
        pass


STACKS = [
    "<module> (a.py:1);Runner.run (asyncio/runners.py:86);call (fanfold/a.py:1);<lambda> (b.py:2) 3",
    "<module> (a.py:1);Runner.run (asyncio/runners.py:86);call (fanfold/a.py:1) 1",
    "Thread._bootstrap (threading.py:1);Thread.run (threading.py:9) 4",
    "<lambda> (b.py:2);torn (c.py:1) 100",
]


def test_calls_are_counted_from_the_event_loop_or_a_thread_on_and_torn_stacks_are_not():
    root = tree(STACKS)
    assert (root.samples, root.depth) == (8, 4)
    loop = root.called["Runner.run (asyncio/runners.py:86)"]
    assert loop.samples == loop.called["call (fanfold/a.py:1)"].samples == 4
    assert root.called["Thread.run (threading.py:9)"].called == {}


def test_a_call_is_as_wide_as_its_share_and_what_it_calls_stands_below_it():
    drawn = ElementTree.fromstring(svg("one <call>", tree(STACKS)))
    boxes = {
        group.findtext(f"{SVG}title"): box.attrib
        for group in drawn.findall(f"{SVG}g")
        for box in group.findall(f"{SVG}rect")
    }
    caller, called = boxes["call (fanfold/a.py:1), 50.0%"], boxes["<lambda> (b.py:2), 37.5%"]
    assert (caller["width"], called["width"]) == ("600.0", "450.0")
    assert (caller["class"], called["class"]) == ("own", "other")
    assert caller["x"] == called["x"]
    assert float(called["y"]) > float(caller["y"])


def test_nothing_sampled_can_be_drawn_too():
    assert "0 samples" in svg("nothing", tree([]))


def test_the_page_shows_those_that_were_drawn():
    assert "![One call, 16 clients](flame-one-call.svg)" in page([], [], FLAMES)
    assert "flame" not in page([], [])
