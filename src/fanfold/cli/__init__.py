"""The command line: `fanfold`, or `python -m fanfold`."""

from fanfold.cli.commands import app

__all__ = ["app"]
