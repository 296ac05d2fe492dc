"""Where the secret keys come from: the settings, or a file of the embedded development mode."""

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from fanfold.core.config import Settings
from fanfold.core.crypto import WeakSecret
from fanfold.core.file_locks import locked

FILE_NAME = "secret.key"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def secret_keys(settings: Settings) -> list[SecretStr]:
    """Return the ring, newest first.

    With the embedded Postgres a missing key is made once and kept under the data directory with mode 0600, which is
    mended where it is wider; with a database of its own a server must be given one, since every server of it needs the
    same.
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
    close_to_others(path)
    return [SecretStr(key) for key in path.read_text().strip().split(",")]


def close_to_others(path: Path, chmod: Callable[[Path, int], None] = Path.chmod) -> None:
    """Let nobody but the owner read a ring that was copied, or unpacked, with a wider mode; raises `WeakSecret`."""
    if not stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        return
    with suppress(OSError):
        chmod(path, 0o600)
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        raise WeakSecret(
            f"{path} can be read by others, and its mode cannot be changed: `chmod 600` it as its owner, set "
            "FANFOLD_DATA_DIR to a folder of your own, or set FANFOLD_SECRET_KEYS."
        )


def _write_beside(path: Path, ring: Sequence[SecretStr]) -> Path:
    # Written whole under another name, so that no process ever reads half a key.
    mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 (a mode at birth)
        file.write(",".join(key.get_secret_value() for key in ring))
    return mine
