"""Every adapter by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.adapters.anthropic import Anthropic
from fanfold.fanout.adapters.base import Adapter
from fanfold.fanout.adapters.echo import Echo
from fanfold.fanout.adapters.http_json import HttpJson
from fanfold.fanout.adapters.ollama import Ollama
from fanfold.fanout.adapters.openai import OpenAI
from fanfold.fanout.errors import UnknownKind

ADAPTERS: dict[str, Adapter] = {
    "http_json": HttpJson(),
    "openai": OpenAI(),
    "anthropic": Anthropic(),
    "ollama": Ollama(),
    "echo": Echo(),
}


def adapter(kind: str) -> Adapter:
    """Return the adapter of this kind. Raises `UnknownKind`."""
    try:
        return ADAPTERS[kind]
    except KeyError:
        raise UnknownKind("adapter", kind, tuple(ADAPTERS)) from None
