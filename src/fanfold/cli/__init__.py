"""The command line: `fanfold`, or `python -m fanfold`."""

from fanfold.cli.root import app

__all__ = ["app"]
