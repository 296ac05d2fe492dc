"""The address of what sends mail, and of whom mail is from, as settings give them."""

from collections.abc import Callable
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from fanfold.core.lazily import on_call
from fanfold.core.values import value

if TYPE_CHECKING:
    from email.headerregistry import Address

# With the grammar of all headers: for whoever names a sender, or what sends.
_address: Callable[..., "Address"] = on_call("email.headerregistry", "Address")
_PORTS = {"smtp": 587, "smtps": 465}
_ESCAPED = "; `/`, `?`, `#` and `@` of a password are %2F, %3F, %23 and %40"
_FORMS = (
    f"console://, file:///folder, smtp://user:password@host:587 or smtps://user:password@host:465{_ESCAPED}"
)


@value(kw_only=True)
class MailUrl:
    """Where mail goes. `folder` is the files'; host, port, user and password are a server's."""

    scheme: str
    folder: Path = Path()
    host: str = ""
    port: int = 0
    user: str | None = None
    password: SecretStr | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that nothing travels over a network."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_mail_url(url: str) -> MailUrl:
    """Return what a mail address in the settings names; raises ValueError, which says what to write."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"must be one of {_FORMS}") from None
    match parts.scheme:
        case "console" if not parts.netloc:
            return MailUrl(scheme="console")
        case "file":
            return _files(parts)
        case "smtp" | "smtps":
            return _server(parts, port)
    raise ValueError(f"must be one of {_FORMS}")


def _files(parts: SplitResult) -> MailUrl:
    if parts.netloc or not parts.path.strip("/"):
        raise ValueError("names no folder: write file:///var/mail/fanfold, with three slashes")
    return MailUrl(scheme="file", folder=Path(unquote(parts.path)))


def _server(parts: SplitResult, port: int | None) -> MailUrl:
    if not parts.hostname:
        raise ValueError(f"names no server: write {parts.scheme}://user:password@host:{_PORTS[parts.scheme]}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"ends with the port{_ESCAPED}")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("has a user without a password, or a password without a user")
    return MailUrl(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username is not None else None,
        password=SecretStr(unquote(parts.password)) if parts.password is not None else None,
    )


def parse_sender(sender: str) -> "Address":
    """Return whom mail is from; raises ValueError, which says what to write."""
    name, address = parseaddr(sender)
    try:
        found = _address(name, addr_spec=address)
    except (ValueError, IndexError):
        found = None
    if found is None or not found.domain or not sender.isprintable():
        raise ValueError("must be an address, with a name or without: Fanfold <fanfold@example.com>")
    return found
