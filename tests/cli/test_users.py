"""`fanfold users`: people without mail."""

import json
import secrets

import pytest

from fanfold.users.passwords import Passwords
from tests.cli.running import Cli
from tests.cli.test_operators import fetch, stored
from tests.fixtures.database import TestDatabase

PASSWORD = "sieben grüne Drachen 七只"


@pytest.fixture
def email() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def test_a_person_who_may_sign_in_at_once(cli: Cli, tenant: str, email: str, database_urls: TestDatabase):
    arguments = ("users", "create", email.upper(), "--tenant", tenant, "--role", "admin", "--password-stdin")
    made = cli(*arguments, "--json", text=f"{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    person = json.loads(made.stdout)
    assert person.keys() == {"id", "email"}
    row = stored(database_urls, email)
    assert (str(row["id"]), row["is_verified"], row["is_operator"]) == (person["id"], True, False)
    passwords = Passwords(threads=1, queue=1)
    assert passwords.verify_and_update(PASSWORD, row["hashed_password"]) == (True, None)
    passwords.close()
    memberships = fetch(
        database_urls,
        "select m.role, t.slug from fanfold.memberships m join fanfold.tenants t on t.id = m.tenant_id"
        " where m.user_id = $1",
        row["id"],
    )
    assert [(each["role"], each["slug"]) for each in memberships] == [("admin", tenant)]
    audited = fetch(
        database_urls,
        "select action, actor_kind from fanfold.audit_events where object_id = $1",
        person["id"],
    )
    assert [(each["action"], each["actor_kind"]) for each in audited] == [("user.created", "command_line")]
    again = cli(*arguments, text=f"{PASSWORD}\n")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "Somebody has this address already." in again.stderr


def test_the_password_is_asked_for_where_it_is_not_given(cli: Cli, email: str, database_urls: TestDatabase):
    made = cli("users", "create", email, text=f"{PASSWORD}\n{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    assert PASSWORD not in made.output
    assert stored(database_urls, email)["is_verified"]


@pytest.mark.parametrize("password", ["", "kurz?", "password123", "x" * 129])
def test_a_poor_password_is_refused(cli: Cli, email: str, password: str, database_urls: TestDatabase):
    refused = cli("users", "create", email, "--password-stdin", text=f"{password}\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert not password or password not in refused.stderr
    assert fetch(database_urls, "select from fanfold.users where email_key = $1", email) == []


def test_neither_an_address_nor_a_tenant_is_made_up(cli: Cli, email: str, database_urls: TestDatabase):
    wrong = cli("users", "create", "ada", "--password-stdin", text=f"{PASSWORD}\n")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    missing = cli("users", "create", email, "--tenant", "nobody-s", "--password-stdin", text=f"{PASSWORD}\n")
    assert "There is no tenant" in missing.stderr
    assert fetch(database_urls, "select from fanfold.users where email_key = $1", email) == []
