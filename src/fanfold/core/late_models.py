"""Pydantic's models, built when they are first used (docs/decisions/start-up.md)."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel


@contextmanager
def built_late() -> Iterator[None]:
    """Put off the building of models that are written while the body runs, unless they say otherwise: for imports.

    FastAPI brings 33 that describe OpenAPI, a twentieth of a server's start, and only the document needs them.
    """
    before = BaseModel.model_config
    BaseModel.model_config = {**before, "defer_build": True}
    try:
        yield
    finally:
        BaseModel.model_config = before
