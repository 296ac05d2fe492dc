import sys
from pathlib import Path

import pytest

from fanfold.core.lazily import imported_meanwhile

_MODULE = "imported_for_this_test"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"{_MODULE}.py").write_text("import threading\nby = threading.current_thread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, _MODULE, raising=False)
    return _MODULE


async def test_a_module_is_imported_beside_the_body_and_not_by_the_loop(module: str) -> None:
    async with imported_meanwhile(module):
        pass
    assert sys.modules[module].by.name != "MainThread"


async def test_an_import_that_fails_is_told_when_the_body_ends() -> None:
    with pytest.raises(ModuleNotFoundError):
        async with imported_meanwhile("no_such_module"):
            pass
