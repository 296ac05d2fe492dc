"""The part of JSON Schema 2020-12 that the product's document uses: is an answer what the document says?"""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

Schema = Any
Components = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),), "integer": (int,),
    "number": (int, float),
}  # fmt: skip
_FORMATS: dict[str, Callable[[str], object]] = {
    "uuid": UUID,
    "date-time": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
}
KNOWN_WORDS = frozenset(
    {
        "$ref", "anyOf", "type", "enum", "const", "format", "pattern", "minLength", "maxLength", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "items", "minItems", "maxItems", "properties", "required",
        "additionalProperties", "patternProperties", "maxProperties", "propertyNames",
        "title", "description", "default", "examples", "writeOnly",
    }
)  # fmt: skip


def mismatches(value: Any, schema: Schema, components: Components, at: str = "$") -> list[str]:
    """Return where `value` is not what `schema` says; references are looked up in `components`."""
    if schema is True or not schema:
        return []
    assert schema.keys() <= KNOWN_WORDS, f"{schema.keys() - KNOWN_WORDS} is checked by nobody"
    if reference := schema.get("$ref"):
        return mismatches(value, components[reference.rsplit("/", 1)[1]], components, at)
    if choices := schema.get("anyOf"):
        fits = any(not mismatches(value, choice, components, at) for choice in choices)
        return [] if fits else [f"{at}: none of the choices"]
    kind = schema.get("type")
    if kind and not _is_type(value, kind):
        return [f"{at}: no {kind}"]
    return [f"{at}{fault}" for fault in _faults(value, schema, components)]


def _is_type(value: Any, name: str) -> bool:
    return name == "boolean" if isinstance(value, bool) else isinstance(value, _TYPES[name])


def _faults(value: Any, schema: Schema, components: Components) -> Iterator[str]:
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield ": no such choice"
    match value:
        case str():
            yield from _of_text(value, schema)
        case bool() | None:
            return
        case int() | float():
            yield from _of_number(value, schema)
        case list():
            for place, item in enumerate(value):
                yield from mismatches(item, schema.get("items", True), components, f"[{place}]")
        case dict():
            yield from _of_object(value, schema, components)


def _of_text(value: str, schema: Schema) -> Iterator[str]:
    try:
        _FORMATS.get(schema.get("format", ""), str)(value)
    except ValueError:
        yield f": no {schema['format']}"
    if not re.search(schema.get("pattern", ""), value):
        yield ": not of the pattern"
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield ": too short or too long"


def _of_number(value: float, schema: Schema) -> Iterator[str]:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield ": out of range"


def _of_object(value: dict[str, Any], schema: Schema, components: Components) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f": no {name}" for name in schema.get("required", ()) if name not in value)
    others = schema.get("additionalProperties", True)
    if len(value) > schema.get("maxProperties", len(value)):
        yield ": too many members"
    for name, member in value.items():
        yield from mismatches(name, schema.get("propertyNames", True), components, f".{name}")
        if name not in properties and others is False:
            yield f": {name} is not declared"
        yield from mismatches(member, properties.get(name, others or True), components, f".{name}")
