"""Mails by the name of their templates. Jinja comes with the first of them."""

from typing import Any

from fanfold.core.lazily import on_call

_render = on_call("fanfold.mail.rendering", "render")


def render(name: str, **values: Any) -> tuple[str, str, str]:
    """Return a mail's subject, text and HTML; raises jinja2's errors where there is no such mail or a value lacks."""
    mail: tuple[str, str, str] = _render(name, **values)
    return mail
