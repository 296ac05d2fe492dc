"""Where the database is: as the settings say, or the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager

from fanfold.core.config import DatabaseSettings
from fanfold.core.embedded_postgres import OWNER, EmbeddedPostgres
from fanfold.core.roles import APP
from fanfold.core.values import value


@value
class DatabaseUrls:
    """The owner's address, for migrations, and the serving login's. None: the settings do not name it."""

    owner: str | None
    app: str | None


@contextmanager
def database_urls(settings: DatabaseSettings) -> Iterator[DatabaseUrls]:
    """Give the addresses; while the context is open the embedded server runs, if it is the one in use. Blocks."""
    if settings.url or settings.owner_url:
        yield DatabaseUrls(
            owner=settings.owner_url.get_secret_value() if settings.owner_url else None,
            app=settings.url.get_secret_value() if settings.url else None,
        )
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        yield DatabaseUrls(owner=server.url(user=OWNER), app=server.url(user=APP))
