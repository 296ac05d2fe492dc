"""Fanfold: split a long text, fan the chunks out, fold the answers, bill to the unit."""
