"""`.env`, read so that what is wrong with it is said once and in words."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import BaseSettings, DotEnvSettingsSource


class DotEnvUnreadable(Exception):
    """The file cannot be read; the message says why."""


class DotEnv(DotEnvSettingsSource):
    """Settings from `.env`. Raises DotEnvUnreadable where it is no text."""

    def __init__(self, group: type[BaseSettings]) -> None:
        super().__init__(group, env_file=".env", env_file_encoding="utf-8")

    def _read_env_file(self, file_path: Path) -> Mapping[str, str | None]:
        try:
            return super()._read_env_file(file_path)
        except UnicodeDecodeError:
            raise DotEnvUnreadable(
                f"{file_path} is not UTF-8 text: save it as UTF-8, or remove it."
            ) from None
        except OSError as error:
            raise DotEnvUnreadable(f"{file_path} cannot be read: {error.strerror}.") from None


class _SaidOnce(logging.Filter):
    """Lets python-dotenv complain once about a line: the file is read by each group of settings."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[object] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the complaint into our words, if it is new."""
        if record.levelno != logging.WARNING or not record.args:
            return True
        line = record.args
        is_new = line not in self._said
        self._said.add(line)
        record.msg = ".env, line %s: not NAME=VALUE, so it does not count."
        return is_new


logging.getLogger("dotenv.main").addFilter(_SaidOnce())
