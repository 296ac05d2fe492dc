"""Where the secret keys come from: the settings, or a file of the embedded development mode."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from fanfold.core.config import Settings
from fanfold.core.file_locks import locked

FILE_NAME = "secret.key"


def secret_keys(settings: Settings) -> list[SecretStr]:
    """Return the ring, newest first.

    With the embedded Postgres a missing key is made once and kept under the data directory with mode 0600; with a
    database of its own a server must be given one, since every server of it needs the same.
    """
    if not are_kept_in_file(settings):
        return list(settings.security.secret_keys)
    return _kept(key_file(settings))


def key_file(settings: Settings) -> Path:
    """Return where the embedded mode keeps its ring."""
    return settings.database.data_dir / FILE_NAME


def are_kept_in_file(settings: Settings) -> bool:
    """Whether the ring is the file of the embedded mode, which `rotate` may change."""
    return not (settings.security.secret_keys or settings.database.url or settings.database.owner_url)


def rotate(settings: Settings) -> list[SecretStr]:
    """Put a fresh key before those of the file, and return the new ring. Processes that run keep the old one."""
    path = key_file(settings)
    with locked(path.with_name(f"{FILE_NAME}.lock"), timeout_s=10):
        ring = [SecretStr(new_key()), *_kept(path)]
        _write_beside(path, ring).replace(path)
    return ring


def new_key() -> str:
    """Return a key that nobody can guess (384 bits)."""
    return secrets.token_urlsafe(48)


def _kept(path: Path) -> list[SecretStr]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Linked: of several processes one wins.
        mine = _write_beside(path, [SecretStr(new_key())])
        with suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return [SecretStr(key) for key in path.read_text().strip().split(",")]


def _write_beside(path: Path, ring: Sequence[SecretStr]) -> Path:
    # Written whole under another name, so that no process ever reads half a key.
    mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 (a mode at birth)
        file.write(",".join(key.get_secret_value() for key in ring))
    return mine
