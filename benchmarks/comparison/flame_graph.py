"""A flame graph from above to below, as SVG by hand: each call as wide as its share of the samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape

WIDTH, LINE, HEAD = 1200, 17, 40
_LETTER = 6.6
_NARROWEST = 0.6
# The frames above these are the same for all; a stack with neither was torn while it was read.
_BEGIN = ("Runner.run ", "Thread.run ")
_OWN = "(fanfold/"
_STYLE = """
svg { font: 11px ui-monospace, monospace; --text: #1f2328; --own: #f6c177; --other: #d8dee4; --edge: #ffffff; }
@media (prefers-color-scheme: dark) { svg { --text: #e6edf3; --own: #8a4b08; --other: #373e47; --edge: #0d1117; } }
text { fill: var(--text); } .title { font: 600 13px system-ui, sans-serif; }
rect { stroke: var(--edge); stroke-width: 0.5; } .own { fill: var(--own); } .other { fill: var(--other); }
"""


@dataclass(slots=True)
class Frame:
    """A function in a place of the stack, and in how many samples it was there."""

    name: str
    samples: int = 0
    called: dict[str, "Frame"] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many frames are below each other, this one among them."""
        return 1 + max((each.depth for each in self.called.values()), default=0)


def tree(lines: Iterable[str]) -> Frame:
    """Read folded stacks (`outermost;…;innermost count`), from the event loop's or a thread's beginning on."""
    root = Frame("all samples")
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        begin = next((place for place, name in enumerate(frames) if name.startswith(_BEGIN)), None)
        if begin is None:
            continue
        frame = root
        frame.samples += int(count)
        for name in frames[begin:]:
            frame = frame.called.setdefault(name, Frame(name))
            frame.samples += int(count)
    return root


def svg(title: str, root: Frame) -> str:
    """Draw a tree; a frame of less than half a thousandth is left out, and so is what it calls."""
    height = HEAD + LINE * root.depth + 4
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">'
    named = f'<text class="title" x="4" y="22">{escape(title)}: {root.samples} samples</text>'
    return "\n".join(
        [head, f"<style>{_STYLE}</style>", named, *_drawn(root, root.samples or 1, 0.0, 0), "</svg>", ""]
    )


def _drawn(frame: Frame, all_samples: int, left: float, depth: int) -> Iterator[str]:
    width = WIDTH * frame.samples / all_samples
    if width < _NARROWEST:
        return
    yield _box(frame.name, f"{frame.samples / all_samples:.1%}", left, width, HEAD + LINE * depth)
    for called in sorted(frame.called.values(), key=lambda each: each.name):
        yield from _drawn(called, all_samples, left, depth + 1)
        left += WIDTH * called.samples / all_samples


def _box(name: str, share: str, left: float, width: float, top: int) -> str:
    letters = int((width - 4) / _LETTER)
    shown = name if len(name) <= letters else f"{name[: letters - 1]}…"
    label = f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(shown)}</text>' if letters > 3 else ""
    kind = "own" if _OWN in name else "other"
    return (
        f'<g><title>{escape(name)}, {share}</title><rect class="{kind}" x="{left:.1f}" y="{top}" '
        f'width="{width:.1f}" height="{LINE}" rx="1"/>{label}</g>'
    )
