import stat
import subprocess
import sys

from pydantic import SecretStr

from fanfold.core.config import DatabaseSettings, SecuritySettings, Settings
from fanfold.core.secret_keys import secret_keys


def embedded(tmp_path, *keys):
    return Settings(
        database=DatabaseSettings(data_dir=tmp_path / "data"),
        security=SecuritySettings(secret_keys=[SecretStr(key) for key in keys]),
    )


def test_embedded_mode_makes_a_key_once_and_keeps_it_to_itself(tmp_path):
    first, second = secret_keys(embedded(tmp_path)), secret_keys(embedded(tmp_path))
    assert first == second
    assert len(first[0]) >= 32
    (file,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_of_the_settings_wins_and_no_file_is_made(tmp_path):
    assert secret_keys(embedded(tmp_path, "k" * 40)) == [SecretStr("k" * 40)]
    assert not (tmp_path / "data").exists()


def test_a_database_of_ones_own_gets_no_made_up_key(tmp_path):
    settings = Settings(
        database=DatabaseSettings(url=SecretStr("postgresql://u@h/d"), data_dir=tmp_path),
        security=SecuritySettings(secret_keys=[]),
    )
    assert secret_keys(settings) == []


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from fanfold.core.config import *\n"
        "from fanfold.core.secret_keys import secret_keys\n"
        "database = DatabaseSettings(data_dir=pathlib.Path(sys.argv[1]))\n"
        "s = Settings(database=database, security=SecuritySettings(secret_keys=[]))\n"
        "print(secret_keys(s)[0].get_secret_value())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "d"], stdout=subprocess.PIPE, cwd=tmp_path)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in running}) == 1
