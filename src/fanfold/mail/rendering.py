"""Mails from templates: `<name>.txt`, whose first line is the subject, and `<name>.html` on one base."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def _one_line(value: Any) -> Any:
    # What people may choose cannot begin a line: neither a header, nor a paragraph that seems to be ours.
    return " ".join(value.split()) if type(value) is str else value  # not the markup that Jinja itself made


_TEMPLATES = Environment(
    loader=PackageLoader("fanfold.mail", "templates"),
    autoescape=select_autoescape(["html"], default_for_string=False),
    undefined=StrictUndefined,
    finalize=_one_line,
    keep_trailing_newline=True,
)


def render(name: str, **values: Any) -> tuple[str, str, str]:
    """Return a mail's subject, text and HTML; raises jinja2's errors where there is no such mail or a value lacks."""
    subject, _, text = _TEMPLATES.get_template(f"{name}.txt").render(values).partition("\n")
    return subject, text.lstrip("\n"), _TEMPLATES.get_template(f"{name}.html").render(values)
