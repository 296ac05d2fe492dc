"""Bodies made from the document's own schemas: a valid one for each route, and its members one by one."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fanfold.core.schemas import Slug

SLUG_PATTERN = Slug.__metadata__[0].pattern  # type: ignore[attr-defined]  # Annotated keeps it there
Document = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a body, by the names that lead to it, with its schema."""

    path: Path
    schema: Document

    @property
    def types(self) -> set[str]:
        return {kind for choice in _choices(self.schema) for kind in _types(choice)}

    @property
    def choices(self) -> list[Document]:
        return _choices(self.schema)

    @property
    def name(self) -> str:
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Shape:
    """A body's schema."""

    schema: Document
    components: Document

    def valid(self) -> Document:
        """Return the smallest body that is taken; slugs are new each time."""
        required = self.schema.get("required", ())
        return {name: example(self.resolved(self.schema["properties"][name])) for name in required}

    def members(self) -> Iterator[Member]:
        yield from self._members(self.schema, ())

    def _members(self, schema: Document, above: Path) -> Iterator[Member]:
        for name, declared in schema.get("properties", {}).items():
            resolved = self.resolved(declared)
            yield Member((*above, name), resolved)
            yield from self._members(resolved, (*above, name))

    def resolved(self, schema: Document) -> Document:
        if reference := schema.get("$ref"):
            found: Document = self.components[reference.rsplit("/", 1)[1]]
            return found
        return schema

    def put(self, path: Path, value: Any) -> Document:
        """Return the valid body with one member changed."""
        body: Document = self.valid()
        place = body
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
        return body


def shape_of(document: Document, method: str, path: str) -> Shape:
    content = document["paths"][path][method.lower()]["requestBody"]["content"]
    components = document["components"]["schemas"]
    shape = Shape({}, components)
    return Shape(shape.resolved(content["application/json"]["schema"]), components)


def example(schema: Document) -> Any:
    """Return a value that a schema takes, as far as bodies need it."""
    if schema.get("pattern") == SLUG_PATTERN:
        return f"s{secrets.token_hex(6)}"
    if examples := schema.get("examples"):
        return examples[0]
    if choices := schema.get("enum"):
        return choices[0]
    kinds: dict[str, Any] = {
        "string": "x" * schema.get("minLength", 1),
        "integer": int(schema.get("minimum", 1)),  # the document writes every number as a float
        "boolean": True,
    }
    return kinds[schema["type"]]


def _choices(schema: Document) -> list[Document]:
    choices: list[Document] = schema.get("anyOf", [schema])
    return choices


def _types(schema: Document) -> set[str]:
    kind = schema.get("type")
    if kind is None and "enum" not in schema:
        return {"object", "array", "string", "number", "integer", "boolean", "null"}
    return {kind, "integer"} if kind == "number" else {str(kind)}
