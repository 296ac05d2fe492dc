"""What cannot be installed says so and leaves nothing behind; what is there is not installed again."""

from pathlib import Path

import pytest

from benchmarks.comparison import peers
from benchmarks.comparison.server import NotHere


def test_what_is_there_is_used(tmp_path: Path):
    program = tmp_path / f"litellm-{peers.LITELLM}" / "bin" / "litellm"
    program.parent.mkdir(parents=True)
    program.touch()
    assert peers.litellm(tmp_path) == program


def test_a_failed_installation_says_why_and_leaves_no_half(tmp_path: Path):
    folder = tmp_path / "peer"
    folder.mkdir()
    with pytest.raises(NotHere, match=r"Peer could not be installed.*no such peer"):
        peers.install("Peer", folder, ["sh", "-c", "echo no such peer >&2; exit 1"])
    assert not folder.exists()
