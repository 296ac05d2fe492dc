import stat
import subprocess
import sys

import pytest
from pydantic import SecretStr

from fanfold.core.config import DatabaseSettings, SecuritySettings, Settings
from fanfold.core.crypto import WeakSecret
from fanfold.core.secret_keys import close_to_others, key_file, rotate, secret_keys
from tests.fixtures.modes import open_to_others


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
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("loose_umask")
def test_nothing_is_open_to_others_under_a_loose_umask(tmp_path):
    settings = embedded(tmp_path)
    made = secret_keys(settings)
    assert rotate(settings)[1:] == made
    assert open_to_others(tmp_path / "data") == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o666, 0o604, 0o601])
def test_a_file_that_others_may_read_is_closed(tmp_path, mode):
    settings = embedded(tmp_path)
    ring = secret_keys(settings)
    key_file(settings).chmod(mode)
    assert secret_keys(settings) == ring
    assert stat.S_IMODE(key_file(settings).stat().st_mode) == 0o600


@pytest.mark.parametrize("answer", [None, PermissionError])
def test_one_that_cannot_be_closed_is_refused_in_words(tmp_path, answer):
    (file := tmp_path / "secret.key").touch(0o644)

    def chmod(_path, _mode):  # it is somebody else's, or its file system keeps no modes
        if answer is not None:
            raise answer

    with pytest.raises(WeakSecret, match="FANFOLD_DATA_DIR"):
        close_to_others(file, chmod)


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
