"""Bad bodies, each a real idea. What each holds of the client's own carries a canary that no answer may repeat."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tests.adversarial.hostile_values import CANARY, HOSTILE, NO_SLUGS
from tests.adversarial.shapes import SLUG_PATTERN, Member, Shape

JSON = {"content-type": "application/json"}
_MARK = "@@raw@@"

Ideas = Callable[[Shape], Iterator["Attack"]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One request body that must be refused."""

    idea: str
    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    statuses: range = range(400, 500)


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def attacks_on(shape: Shape, *, only: slice = slice(None)) -> Iterator[Attack]:
    """Yield every attack there is on a route whose body has this shape; of those that are many alike, `only` some."""
    yield from _whole_bodies(shape)
    yield from _media_types(shape)
    yield from _foreign_members(shape)
    yield from islice(_variants(shape), only.start, None, only.step)
    for member in shape.members():
        yield from islice(_wrong_members(shape, member), only.start, None, only.step)
        for number, value in enumerate(HOSTILE.get(member.name, ())):
            yield Attack(f"hostile {member.name} {number}", _encoded(shape.put(member.path, value)))


# -- the body as a whole ------------------------------------------------------------------------------------------

_C = f'"{CANARY}"'
_TEXTS = {
    "nothing": "",
    "spaces": " \t\r\n ",
    "null": "null",
    "true": "true",
    "a number": "12345678901",
    "a string": _C,
    "an array": f"[{_C}]",
    "an empty array": "[]",
    "a key without a value": f"{{{_C}}}",
    "unclosed": f'{{"text": {_C}',
    "unclosed string": f'{{"text": "{CANARY}',
    "a comma too many": f'{{"{CANARY}": 1,}}',
    "single quotes": f"{{'text': '{CANARY}'}}",
    "a comment": f'{{"text": "x" /* {CANARY} */}}',
    "no quotes": f"{{text: {_C}}}",
    "JSON lines": f'{{"text": {_C}}}\n{{"text": {_C}}}',
    "JSONP": f'callback({{"text": {_C}}})',
    "an XSSI prefix": ")]}',\n{}",
    "NaN": f'{{"{CANARY}": NaN}}',
    "Infinity": f'{{"{CANARY}": Infinity}}',
    "-Infinity": f'{{"{CANARY}": -Infinity}}',
    "1e400": f'{{"{CANARY}": 1e400}}',
    "-1e400": f'{{"{CANARY}": -1e400}}',
    "5,000 digits": f'{{"{CANARY}": {"9" * 5000}}}',
    "5,000 digits behind the point": f'{{"{CANARY}": 1.{"9" * 5000}e{"9" * 50}}}',
    "hexadecimal": f'{{"{CANARY}": 0x10}}',
    "a leading zero": f'{{"{CANARY}": 007}}',
    "a plus": f'{{"{CANARY}": +1}}',
    "a bare point": f'{{"{CANARY}": .5}}',
    "undefined": f'{{"{CANARY}": undefined}}',
    "half of a pair": f'{{"{CANARY}": "\\ud800"}}',
    "the other half": f'{{"{CANARY}": "\\udc00x"}}',
    "half of a pair as a name": f'{{"{CANARY}\\ud800": 1}}',
    "NUL": f'{{"{CANARY}": "a\\u0000b"}}',
    "NUL as a name": f'{{"\\u0000{CANARY}": 1}}',
    "a newline in a string": f'{{"{CANARY}": "a\nb"}}',
    "an unknown escape": f'{{"{CANARY}": "\\x41"}}',
    "a short escape": f'{{"{CANARY}": "\\u12"}}',
    "65 levels": "[" * 65 + "]" * 65,
    "65 levels within": f'{{"{CANARY}": ' + '{"a":' * 64 + "1" + "}" * 65,
    "100,000 arrays": "[" * 100_000,
    "100,000 objects": '{"a":' * 100_000,
    "200,000 values": "[" + "[]," * 200_000 + "0]",
    "10 MB of spaces": " " * 10_000_000,
}


def _whole_bodies(shape: Shape) -> Iterator[Attack]:
    for idea, text in _TEXTS.items():
        yield Attack(idea, text.encode())
    valid = json.dumps(shape.valid())
    name = next(iter(shape.valid() or {member.name: None for member in shape.members()}))
    yield Attack("the body in an array", f"[{valid}]".encode())
    yield Attack("the body as a string", _encoded(valid))
    yield Attack("twice", (valid + valid).encode())
    yield Attack("something behind it", f"{valid}{_C}".encode())
    yield Attack("BOM", b"\xef\xbb\xbf" + valid.encode())
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        content = (valid + " \u4f60").encode(encoding)
        yield Attack(encoding, content, {"content-type": f"application/json; charset={encoding}"})
    yield Attack("Latin-1", b'{"%s": "\xe9"}' % name.encode())
    yield Attack("overlong UTF-8", b'{"%s": "\xc0\xaf"}' % name.encode())
    yield Attack("surrogates in UTF-8", b'{"%s": "\xed\xa0\x80"}' % name.encode())
    yield Attack("beyond Unicode", b'{"%s": "\xf5\x80\x80\x80"}' % name.encode())
    yield Attack("cut UTF-8", b'{"%s": "\xe4\xbd"}' % name.encode())
    yield Attack("a member twice", f'{{"{name}": {_C}, "{name}": {_C}}}'.encode())
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    yield Attack("a member twice, once escaped", f'{{"{name}": {_C}, "{escaped}": {_C}}}'.encode())
    yield Attack("gzip", gzip.compress(valid.encode()), {**JSON, "content-encoding": "gzip"})
    yield Attack("gzip of a bomb", gzip.compress(b" " * 5_000_000), {**JSON, "content-encoding": "gzip"})


_MEDIA_TYPES = (
    "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml",
    "multipart/form-data; boundary=x", "application/octet-stream", "application/jsonx", "application/json, text/plain",
    "application/x-ndjson", "json", "/", "*/*", "application/*", f"application/{CANARY}", "application/json\\",
)  # fmt: skip


def _media_types(shape: Shape) -> Iterator[Attack]:
    valid = _encoded(shape.valid())
    only_json = range(415, 416)
    yield Attack("no content type", valid, {}, only_json)
    for kind in _MEDIA_TYPES:
        yield Attack(f"as {kind or 'an empty content type'}", valid, {"content-type": kind}, only_json)
    form = f"text={CANARY}&slug={CANARY}".encode()
    yield Attack("a form", form, {"content-type": "application/x-www-form-urlencoded"}, only_json)
    part = f'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n{CANARY}\r\n--x--\r\n'.encode()
    yield Attack("multipart", part, {"content-type": "multipart/form-data; boundary=x"}, only_json)
    yield Attack("a form said to be JSON", form)
    yield Attack("multipart said to be JSON", part)


# -- members that nobody asked for --------------------------------------------------------------------------------


def _foreign_members(shape: Shape) -> Iterator[Attack]:
    def extra(idea: str, **members: Any) -> Attack:
        return Attack(idea, _encoded(shape.valid() | members))

    yield extra("an extra member", **{CANARY: CANARY})
    yield extra("an empty name", **{"": CANARY})
    yield extra("the name of a pollution", __proto__={"admin": CANARY})
    yield extra("the name of an attribute", __class__=CANARY)
    yield extra("an enormous name", **{CANARY + "n" * 100_000: 1})
    yield extra("5,000 extra members", **{f"{CANARY}{number}": number for number in range(5_000)})
    yield extra("100,000 extra members", **{f"{CANARY}{number}": number for number in range(100_000)})
    yield extra("somebody else's", tenant_id="019a9f3e-7c1e-7b3e-8f3e-0d8f0d8f0d8f")
    yield extra("an id of one's own", id="019a9f3e-7c1e-7b3e-8f3e-0d8f0d8f0d8f")
    yield extra("a status of one's own", status="active")


def _variants(shape: Shape) -> Iterator[Attack]:
    for member in shape.members():
        name = member.name
        for variant in (name.upper(), name.capitalize(), f"{name} ", _full_width(name), f"{name}\u200b"):
            if variant != name:
                body = shape.put((*member.path[:-1], variant), CANARY)
                yield Attack("a variant of a name", _encoded(body))


def _full_width(name: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if letter != "_" else letter for letter in name)


# -- members of the wrong kind ------------------------------------------------------------------------------------

_SAMPLES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True],
    "integer": [0, -1],
    "number": [0.5],
    "string": [CANARY, "", "1"],
    "array": [[], [CANARY], [[]]],
    "object": [{}, {CANARY: CANARY}],
}
_RAW = {
    "NaN": "NaN",
    "1e400": "1e400",
    "half of a pair": f'"{CANARY}\\ud834"',
    "NUL": f'"{CANARY}\\u0000"',
    "4,301 digits": "1" * 4301,
}
_TOO_MUCH = (2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**4000, 1.5e308)


def _wrong_members(shape: Shape, member: Member) -> Iterator[Attack]:
    for kind, values in _SAMPLES.items():
        if kind not in member.types:
            for value in values:
                yield Attack(f"{kind} where it must not be", _encoded(shape.put(member.path, value)))
    for idea, raw in _RAW.items():
        body = json.dumps(shape.put(member.path, _MARK)).replace(f'"{_MARK}"', raw)
        yield Attack(f"{idea} in a member", body.encode())
    for choice in member.choices:
        for idea, value in _out_of_bounds(choice):
            yield Attack(idea, _encoded(shape.put(member.path, value)))


def _out_of_bounds(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    kind = schema.get("type")
    if kind in {"integer", "number"}:
        yield from _beyond(schema)
    for value in schema.get("enum", ()):
        yield "a choice in capitals", str(value).swapcase()
        yield "a choice with a space", f"{value} "
        yield "no choice", CANARY
    if schema.get("pattern") == SLUG_PATTERN:
        yield from (("no slug", value) for value in NO_SLUGS)
    if "maxLength" in schema:
        yield "one too long", "é" * (schema["maxLength"] + 1)
        yield "a megabyte", CANARY * 150_000
    if "maxItems" in schema:
        yield "too many items", ["process"] * (schema["maxItems"] + 1)


def _beyond(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    least, most = schema["minimum"], schema.get("maximum") or schema["exclusiveMaximum"]
    yield from (("far too much", value) for value in _TOO_MUCH if value > most)
    yield from (("far too little", value) for value in _TOO_MUCH if value < least)
    yield "just too little", least - 1
    yield "just too much", most + 1
    if schema["type"] == "integer":
        yield "half of one", least + 0.5
