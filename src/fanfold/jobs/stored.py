"""What a job's sealed texts hold, as JSON: the request that all its calls share, and the chunks of one part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Self
from uuid import UUID

import orjson

from fanfold.core.values import value
from fanfold.fanout.types import FanOutRequest, FoldOptions, OnError, Price, Split, Upstream

_UNSTORED = frozenset({"credential", "price", "id"})
_APART = frozenset({"text", "upstreams", "split", "fold", "owner"})
_STORED = "stored"


def _members(kind: type, left_out: frozenset[str] = frozenset()) -> Callable[[object], dict[str, Any]]:
    """Return what makes a dictionary of a dataclass's value: its fields are looked up once, not for each value."""
    names = tuple(one.name for one in fields(kind) if one.name not in left_out)
    values = attrgetter(*names)
    return lambda value: dict(zip(names, values(value), strict=True))


_of_request = _members(FanOutRequest, _APART)
_of_split = _members(Split)
_of_upstream = _members(Upstream, _UNSTORED)
_of_price = _members(Price)


@value(kw_only=True)
class StoredRequest:
    """The engine's request without its text; its upstreams as they were priced, without their credentials.

    `by_address`: upstreams were named by address (the short form), so results say it.
    """

    fan_out: FanOutRequest
    by_address: bool = False

    def encode(self) -> bytes:
        """Return it as JSON."""
        asked = self.fan_out
        fold = {"by": asked.fold.by, "separator": asked.fold.separator, "prompt": asked.fold.prompt}
        return orjson.dumps(
            {
                **_of_request(asked),
                "split": _of_split(asked.split),
                "upstreams": list(map(_encode_upstream, asked.upstreams)),
                "fold": {**fold, "upstream": asked.fold.upstream and _encode_upstream(asked.fold.upstream)},
                "by_address": self.by_address,
            }
        )

    @classmethod
    def decode(cls, body: bytes, *, owner: str) -> Self:
        """Return what was encoded, as a request of `owner`."""
        members = orjson.loads(body)
        by_address = members.pop("by_address")
        fold = members.pop("fold")
        asked = FanOutRequest(
            text="",
            upstreams=tuple(map(_decode_upstream, members.pop("upstreams"))),
            split=Split(**members.pop("split")),
            fold=FoldOptions(
                by=fold["by"],
                separator=fold["separator"],
                prompt=fold["prompt"],
                upstream=_decode_upstream(fold["upstream"]) if fold["upstream"] else None,
            ),
            on_error=OnError(members.pop("on_error")),
            owner=owner,
            **members,
        )
        return cls(fan_out=asked, by_address=by_address)


def _encode_upstream(upstream: Upstream) -> orjson.Fragment:
    """Return an upstream as JSON, which is worked out once for all jobs that are made while it stays as it is."""
    if _STORED not in upstream.made:
        # Plain dicts of what may be any mapping.
        plain = {"options": dict(upstream.options), "headers": dict(upstream.headers)}
        # The database driver's ids are of a class of its own.
        apart = {"id": str(upstream.id) if upstream.id else None, "price": _of_price(upstream.price)}
        upstream.made[_STORED] = orjson.Fragment(orjson.dumps({**_of_upstream(upstream), **plain, **apart}))
    fragment: orjson.Fragment = upstream.made[_STORED]
    return fragment


def _decode_upstream(members: Mapping[str, Any]) -> Upstream:
    price, identity = Price(**members["price"]), members["id"]
    others = {name: value for name, value in members.items() if name not in _UNSTORED}
    return replace(Upstream(**others), id=UUID(identity) if identity else None, price=price)


@value
class StoredChunk:
    """A chunk of a job; `start` and `end` are code points of the text, or of the line that `custom_id` names."""

    index: int
    start: int
    end: int
    text: str
    custom_id: str | None = None


def encode_chunks(chunks: Sequence[StoredChunk]) -> bytes:
    """Return one part's chunks as JSON."""
    return orjson.dumps([(one.index, one.start, one.end, one.text, one.custom_id) for one in chunks])


def decode_chunks(body: bytes) -> list[StoredChunk]:
    """Return the chunks of one part."""
    return [StoredChunk(*members) for members in orjson.loads(body)]
