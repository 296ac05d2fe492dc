"""The newest revision as read from files is Alembic's own; and a server starts without Alembic."""

import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from fanfold.core.revisions import FOLDER, head

UNNEEDED = ("alembic", "httpx", "jinja2", "mako", "valkey")


def test_the_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    assert head() == ScriptDirectory.from_config(config).get_current_head()


def test_a_server_imports_nothing_that_it_does_not_need_to_start() -> None:
    script = (
        f"import sys, fanfold.cli.serve, fanfold.main; print(sorted(sys.modules.keys() & {set(UNNEEDED)}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
