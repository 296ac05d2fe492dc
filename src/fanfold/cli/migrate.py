"""`fanfold migrate`."""

from fanfold.cli.output import show_members
from fanfold.core.config import Settings
from fanfold.core.database_urls import database_urls
from fanfold.core.migrations import migrate as run_migrations
from fanfold.core.revisions import current, head
from fanfold.core.roles import MigrationRefused

NO_OWNER = (
    "FANFOLD_DATABASE_URL names the serving login, which may not migrate. Put the address of the schema's owner into "
    "FANFOLD_OWNER_DATABASE_URL as well."
)
NOTHING_TO_DO = "The schema was the newest one already; roles and rights were looked at too."


def migrate() -> None:
    """Make the roles and plans, and bring the database to the newest schema."""
    with database_urls(Settings().database) as urls:
        if urls.owner is None:
            raise MigrationRefused(NO_OWNER)
        before = current(urls.owner)
        run_migrations(urls.owner, app_url=urls.app)
        newest = head()
        note = NOTHING_TO_DO if before == newest else None
        show_members({"from": before, "to": newest}, note=note)
