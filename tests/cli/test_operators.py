"""`fanfold operators`: exact shapes, a password that is never lost nor kept, and what the log says of it."""

import json
import secrets

import pyotp
import pytest
from pydantic import SecretStr

from fanfold.core.blocking import run_blocking
from fanfold.core.crypto import KeyRing
from fanfold.users.passwords import Passwords
from fanfold.users.totp import bound_to
from tests.cli.running import SECRET, Cli
from tests.fixtures.database import TestDatabase, connect

SHAPE = {"id", "email", "totp_secret", "otpauth_uri"}
PASSWORD = "密码 correct horse battery"


@pytest.fixture
def email() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def fetch(database: TestDatabase, statement: str, *values):
    async def run():
        connection = await connect(database.superuser_url)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    return run_blocking(run())


def stored(database: TestDatabase, email: str):
    [row] = fetch(database, "select * from fanfold.users where email_key = $1", email)
    return row


def is_password_of(row, password: str) -> bool:
    passwords = Passwords(threads=1, queue=1)
    try:
        return passwords.verify_and_update(password, row["hashed_password"])[0]
    finally:
        passwords.close()


def actions(database: TestDatabase, user_id: str) -> list[str]:
    found = "select action, actor_kind from fanfold.audit_events where object_id = $1 order by id"
    rows = fetch(database, found, user_id)
    assert {row["actor_kind"] for row in rows} <= {"command_line"}
    return [row["action"] for row in rows]


class TestCreate:
    def test_makes_a_password_and_a_second_factor_and_shows_both_once(self, cli: Cli, email, database_urls):
        made = cli.json("operators", "create", email)
        assert made.keys() == SHAPE | {"password"}
        row = stored(database_urls, email)
        assert (row["is_operator"], row["is_verified"], row["is_active"]) == (True, True, True)
        assert is_password_of(row, made["password"])
        opened = KeyRing([SecretStr(SECRET)]).unseal(row["totp_sealed"], bound_to=bound_to(row["id"]))
        assert opened.get_secret_value() == made["totp_secret"]
        assert pyotp.parse_uri(made["otpauth_uri"]).secret == made["totp_secret"]
        [listed] = [each for each in cli.json("operators", "list") if each["email"] == email]
        assert (listed["id"], listed["has_second_factor"]) == (made["id"], True)
        assert made["totp_secret"] not in json.dumps(cli.json("operators", "list"))
        assert actions(database_urls, made["id"]) == ["operator.created"]

    def test_takes_a_password_from_standard_input_and_does_not_show_it(self, cli: Cli, email, database_urls):
        result = cli("operators", "create", email, "--password-stdin", "--json", text=f"{PASSWORD}\n")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout).keys() == SHAPE
        assert PASSWORD not in result.output
        assert is_password_of(stored(database_urls, email), PASSWORD)

    def test_asks_for_one(self, cli: Cli, email, database_urls):
        result = cli("operators", "create", email, "--ask", "--json", text=f"{PASSWORD}\n{PASSWORD}\n")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout).keys() == SHAPE
        assert is_password_of(stored(database_urls, email), PASSWORD)

    @pytest.mark.parametrize("password", ["", "short", "x" * 129, "with a \0 NUL"])
    def test_a_password_that_is_none_makes_nobody(self, cli: Cli, email, database_urls, password):
        result = cli("operators", "create", email, "--password-stdin", text=f"{password}\n")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "8 to 128" in result.stderr
        assert fetch(database_urls, "select from fanfold.users where email_key = $1", email) == []

    @pytest.mark.parametrize("password", ["password1", "iloveyou", "{email}"])
    def test_a_password_that_is_easy_to_guess_makes_nobody(self, cli: Cli, email, database_urls, password):
        text = password.format(email=email)
        result = cli("operators", "create", email, "--password-stdin", text=f"{text}\n")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Too easy to guess" in result.stderr
        assert text not in result.stderr
        assert fetch(database_urls, "select from fanfold.users where email_key = $1", email) == []

    def test_an_address_that_somebody_has_is_refused(self, cli: Cli, email):
        cli.json("operators", "create", email)
        assert "Somebody has this address" in cli.refused("operators", "create", email.upper())

    def test_what_is_no_address_is_refused(self, cli: Cli):
        assert "mail address" in cli.refused("operators", "create", "nobody", code=2)

    def test_people_read_what_to_do_with_the_secret(self, cli: Cli, email):
        result = cli("operators", "create", email)
        assert result.exit_code == 0
        assert "otpauth://totp/" in result.stdout
        assert "authenticator" in result.stderr


class TestEnding:
    def test_reset_totp_shows_another_secret_and_ends_sign_ins(self, cli: Cli, email, database_urls):
        made = cli.json("operators", "create", email)
        _sign_in(database_urls, made["id"])
        reset = cli.json("operators", "reset-totp", email)
        assert reset.keys() == SHAPE
        assert reset["totp_secret"] != made["totp_secret"]
        assert _live(database_urls, made["id"]) == 0
        assert actions(database_urls, made["id"])[1:] == ["operator.second_factor_reset"]

    def test_remove_leaves_a_person_like_others(self, cli: Cli, email, database_urls):
        made = cli.json("operators", "create", email)
        _sign_in(database_urls, made["id"])
        assert cli.json("operators", "remove", email) == {
            "id": made["id"], "email": email, "is_operator": False
        }  # fmt: skip
        assert _live(database_urls, made["id"]) == 0
        assert stored(database_urls, email)["is_operator"] is False
        assert email not in json.dumps(cli.json("operators", "list"))
        assert actions(database_urls, made["id"])[1:] == ["operator.removed"]
        assert "no such operator" in cli.refused("operators", "remove", email)
        assert "no such operator" in cli.refused("operators", "reset-totp", email)


def test_operators_keys_are_in_the_log_too(cli: Cli, database_urls):
    made = cli.json("keys", "create", "--operator")
    cli.json("keys", "revoke", made["id"], "--operator")
    cli.json("keys", "revoke", made["id"], "--operator")
    assert actions(database_urls, made["id"]) == ["operator_key.created", "operator_key.revoked"]


def test_so_are_tenants_and_grants(cli: Cli, slug, database_urls):
    made = cli.json("tenants", "create", slug)
    grant = cli.json("tenants", "grant", slug, "--units", "5", "--reason", "补偿")
    assert actions(database_urls, made["id"]) == ["tenant.created"]
    assert actions(database_urls, grant["id"]) == ["grant.created"]


def _sign_in(database: TestDatabase, user_id: str) -> None:
    fetch(
        database,
        "insert into fanfold.sessions (id, user_id, expires_at)"
        " values (gen_random_uuid(), $1::uuid, now() + interval '1 day') returning id",
        user_id,
    )


def _live(database: TestDatabase, user_id: str) -> int:
    found = "select from fanfold.sessions where user_id = $1::uuid and revoked_at is null"
    return len(fetch(database, found, user_id))
