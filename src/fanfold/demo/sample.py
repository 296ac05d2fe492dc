"""The text that the demo sends."""

from pathlib import Path

_CHECKOUT = Path(__file__).parents[3] / "examples"
_INSTALLED = Path(__file__).parents[1] / "examples"


def sample_text() -> str:
    """Return `examples/long-text.txt`, from the checkout or from the installed package."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    return (folder / "long-text.txt").read_text(encoding="utf-8")
