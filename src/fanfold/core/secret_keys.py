"""Where the secret keys come from: the settings, or a file of the embedded development mode."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from fanfold.core.config import Settings

FILE_NAME = "secret.key"


def secret_keys(settings: Settings) -> list[SecretStr]:
    """Return the ring, newest first.

    With the embedded Postgres a missing key is made once and kept under the data directory with mode 0600; with a
    database of its own a server must be given one, since every server of it needs the same.
    """
    if settings.security.secret_keys or settings.database.url or settings.database.owner_url:
        return list(settings.security.secret_keys)
    return [SecretStr(_kept(settings.database.data_dir / FILE_NAME))]


def _kept(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    return path.read_text()


def _make(path: Path) -> None:
    # Written whole under another name, then linked: of several processes one wins, and none reads half a key.
    mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 (a mode at birth)
        file.write(secrets.token_urlsafe(48))
    with suppress(FileExistsError):
        os.link(mine, path)
    mine.unlink()
