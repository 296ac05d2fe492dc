"""The embedded Postgres: one server however many use it, nothing lost and nothing left however they end."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from fanfold.core.blocking import run_blocking
from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres, EmbeddedPostgresError
from fanfold.core.file_locks import locked
from tests.fixtures.database import connect
from tests.fixtures.embedded_servers import (
    FORKING_USER,
    is_gone,
    postmaster,
    query,
    starts_in_log,
)
from tests.fixtures.modes import open_to_others


class TestOneUser:
    def test_a_cold_start_makes_the_owner_and_its_database(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make().start()

        assert (
            query(
                server.url(user=OWNER),
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'fanfold'",
            )
            == OWNER
        )
        attributes = "rolcanlogin, rolcreaterole, rolsuper, rolbypassrls, rolcreatedb, rolreplication"
        row = query(
            server.url(user=OWNER), f"SELECT ROW({attributes}) FROM pg_roles WHERE rolname = '{OWNER}'"
        )
        assert row == (True, True, False, False, False, False)
        assert query(server.url(user=SUPERUSER), "SELECT upper('漢é🙂ж')") == "漢É🙂Ж"

    def test_nothing_is_left_after_stop_and_rows_are_there_again(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make(fsync="on").start()
        pid = postmaster(server.data_dir)
        query(server.url(user=OWNER), "CREATE TABLE kept AS SELECT '保存🙂'::text AS word")

        assert server.stop() is True
        assert is_gone(pid)
        assert not server._alive()
        assert not list((server.data_dir / "run").glob(".s.PGSQL*"))

        server.start()
        assert query(server.url(user=OWNER), "SELECT word FROM kept") == "保存🙂"
        assert server.stop() is True
        assert server.stop() is False

    def test_it_listens_on_a_private_socket_alone(self, make: Callable[..., EmbeddedPostgres]) -> None:
        server = make().start()

        assert query(server.url(user=SUPERUSER), "SHOW listen_addresses") == ""
        assert (server.data_dir / "run").stat().st_mode & 0o777 == 0o700
        for setting in ("listen_addresses", "port"):
            with pytest.raises(ValueError, match=setting):
                make(**{setting: "*"})

    @pytest.mark.usefixtures("loose_umask")
    def test_nothing_of_it_is_open_to_others(self, make: Callable[..., EmbeddedPostgres]) -> None:
        server = make().start()
        assert (server.data_dir / "postgres" / "PG_VERSION").exists()
        assert open_to_others(server.data_dir) == []

    def test_settings_reach_the_server(self, make: Callable[..., EmbeddedPostgres]) -> None:
        assert query(make().start().url(user=OWNER), "SHOW max_connections") == "200"

        other = make(make().data_dir / "other", max_connections="33")
        assert query(other.start().url(user=OWNER), "SHOW max_connections") == "33"

    def test_ctrl_c_of_the_terminal_does_not_reach_it(self, make: Callable[..., EmbeddedPostgres]) -> None:
        server = make().start()

        assert os.getsid(postmaster(server.data_dir)) != os.getsid(0)

    def test_the_log_holds_no_statement_and_no_row(self, make: Callable[..., EmbeddedPostgres]) -> None:
        server = make().start()
        query(server.url(user=OWNER), "CREATE TABLE t (a text UNIQUE)")
        with pytest.raises(asyncpg.UniqueViolationError):
            query(server.url(user=OWNER), "INSERT INTO t VALUES ('秘密'), ('秘密')")

        log = server.log_path.read_text()
        assert "duplicate key value" in log
        assert "秘密" not in log
        assert "INSERT" not in log

    @pytest.mark.parametrize("name", ["漢字 and, blanks: here", "x" * 120])
    def test_any_path_does(self, make: Callable[..., EmbeddedPostgres], tmp_path: Path, name: str) -> None:
        server = make(tmp_path / name).start()
        sockets = Path(server._sockets)

        assert sockets.parent == Path(tempfile.gettempdir())
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert query(server.url(user=OWNER), "SELECT 1") == 1
        assert server.stop() is True
        assert not sockets.exists()


class TestTrouble:
    def test_a_socket_folder_that_others_may_enter_is_refused(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make()
        (server.data_dir / "run").mkdir(parents=True, mode=0o755)

        with pytest.raises(EmbeddedPostgresError, match="chmod 700"):
            server.start()

    def test_a_start_waits_for_another_that_hangs_only_so_long(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make()
        run = server.data_dir / "run"
        run.mkdir(parents=True, mode=0o700)

        with locked(run / "gate", timeout_s=1), pytest.raises(EmbeddedPostgresError, match="Another process"):
            server.start(timeout_s=0.2)

    def test_a_start_that_fails_shows_the_log_and_leaves_nothing(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        broken = make(shared_buffers="plenty")

        with pytest.raises(EmbeddedPostgresError, match=r"(?s)shared_buffers.*FANFOLD_DATABASE_URL"):
            broken.start()

        assert not broken._alive()
        assert query(make().start().url(user=OWNER), "SELECT 1") == 1

    def test_a_pid_file_that_names_another_process_is_no_obstacle(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make().start()
        pid_file = server.data_dir / "postgres" / "postmaster.pid"
        kept = pid_file.read_text().splitlines()
        os.kill(postmaster(server.data_dir), signal.SIGKILL)
        assert server._gone_within(30)
        # As in a container that was killed: the pid belongs to another process of the same user now.
        pid_file.write_text("\n".join([str(os.getppid()), *kept[1:]]))

        assert query(server.start().url(user=OWNER), "SELECT 1") == 1

    def test_acknowledged_rows_outlive_a_crash_of_the_server(
        self, make: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = make(fsync="on").start()
        query(server.url(user=OWNER), "CREATE TABLE rows (n integer)")
        pid = postmaster(server.data_dir)
        acknowledged = 0

        async def write_until_it_breaks() -> None:
            nonlocal acknowledged
            connection = await connect(server.url(user=OWNER))
            while True:
                await connection.execute("INSERT INTO rows VALUES ($1)", acknowledged)
                acknowledged += 1
                if acknowledged == 500:
                    os.kill(pid, signal.SIGKILL)

        with pytest.raises(
            (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        ):
            run_blocking(write_until_it_breaks())
        server.start()

        found = query(server.url(user=OWNER), "SELECT count(*) FROM rows")
        assert acknowledged <= found <= acknowledged + 1  # type: ignore[operator]  # a count
        print(f"crash: {acknowledged} acknowledged, {found} found")


class TestManyUsers:
    def test_four_at_once_get_one_server_and_the_last_stops_it(
        self,
        spawn: Callable[..., "subprocess.Popen[str]"],
        make: Callable[..., EmbeddedPostgres],
        tmp_path: Path,
    ) -> None:
        users = [spawn(PGPORT="1", PGHOST="nowhere.invalid") for _ in range(4)]
        urls = [user.stdout.readline().strip() for user in users if user.stdout]

        assert len({query(url, "SELECT pg_postmaster_start_time()::text") for url in urls}) == 1
        assert starts_in_log(tmp_path / "data") == 1
        for place, user in enumerate(users):
            assert make()._alive()
            assert user.communicate("go\n", timeout=60)[0].strip() == str(place == 3)
        assert not make()._alive()

    def test_users_that_stop_at_once_leave_nothing(
        self, spawn: Callable[..., "subprocess.Popen[str]"], make: Callable[..., EmbeddedPostgres]
    ) -> None:
        users = [spawn() for _ in range(3)]
        for user in users:
            assert user.stdout
            user.stdout.readline()
        for user in users:
            assert user.stdin
            user.stdin.write("go\n")
            user.stdin.flush()

        assert sorted(user.communicate(timeout=60)[0].strip() for user in users) == ["False", "False", "True"]
        assert not make()._alive()

    def test_kill_9_of_a_user_leaves_the_server_to_the_next_who_ends_it(
        self, spawn: Callable[..., "subprocess.Popen[str]"], make: Callable[..., EmbeddedPostgres]
    ) -> None:
        victim = spawn()
        assert victim.stdout
        url = victim.stdout.readline().strip()
        started = query(url, "SELECT pg_postmaster_start_time()::text")
        victim.kill()
        victim.wait(30)
        assert query(url, "SELECT pg_postmaster_start_time()::text") == started

        heir = make().start()
        assert query(heir.url(user=SUPERUSER), "SELECT pg_postmaster_start_time()::text") == started
        assert heir.stop() is True
        assert not heir._alive()

    @pytest.mark.parametrize("delay_s", [0.3, 0.5, 0.8])
    def test_kill_9_in_the_middle_of_a_cold_start_does_no_harm(
        self,
        spawn: Callable[..., "subprocess.Popen[str]"],
        make: Callable[..., EmbeddedPostgres],
        delay_s: float,
    ) -> None:
        victim = spawn()
        time.sleep(delay_s)
        victim.kill()

        server = make().start()
        assert query(server.url(user=OWNER), "SELECT current_database()") == "fanfold"
        assert server.stop() is True

    def test_a_half_made_cluster_is_left_in_peace_until_its_maker_has_ended(
        self, spawn: Callable[..., "subprocess.Popen[str]"], make: Callable[..., EmbeddedPostgres]
    ) -> None:
        victim, server = spawn(), make()
        deadline = time.monotonic() + 60
        while not (server.data_dir / "postgres.making" / "base").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        victim.kill()
        victim.wait(30)

        assert server._alive()  # initdb goes on without its parent, and holds the lock
        assert query(server.start().url(user=OWNER), "SELECT 1") == 1

    def test_a_forked_child_is_a_user_of_its_own(self, spawn: Callable[..., "subprocess.Popen[str]"]) -> None:
        output = spawn(FORKING_USER).communicate(timeout=60)[0]

        assert output.split("\n") == ["parent False", "child True", ""]
