"""The kind without HTTP: every chunk is its own answer. For a first try, for tests and for dry runs."""

from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.adapters.base import AdapterAnswer, Defaults, Send
from fanfold.fanout.types import Prompt, Upstream


class Echo:
    """Answers the chunk's text itself. Sends nothing, lacks nothing, reports no tokens."""

    is_ai = False
    defaults = Defaults()

    async def call(self, _upstream: Upstream, prompt: Prompt, _send: Send) -> AdapterAnswer:
        """Return the prompt's text."""
        return AdapterAnswer(prompt.text, size=len(prompt.text.encode()))

    def check(self, upstream: Upstream) -> None:
        """Refuse nothing: whatever the upstream says, nothing of it is used."""

    def texts(self, _upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the prompt's text."""
        return [prompt.text]

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`, as for every kind: what a dry run costs is what the real one would."""
        return json_exchange.max_tokens(upstream)
