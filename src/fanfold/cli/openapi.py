"""`fanfold openapi`."""

import json

import typer

from fanfold.cli.output import is_json
from fanfold.core.config import Settings
from fanfold.main import create_app


def openapi() -> None:
    """Print the OpenAPI document."""
    document = create_app(Settings()).openapi()
    typer.echo(json.dumps(document, ensure_ascii=False, indent=None if is_json() else 2))
