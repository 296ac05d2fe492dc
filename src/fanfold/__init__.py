"""Fanfold: split a long text, fan the chunks out, fold the answers, bill to the unit."""

from importlib.metadata import version

__version__ = version("fanfold")
