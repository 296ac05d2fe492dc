import asyncio
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from fanfold.core.lazily import imported

_MODULE = "imported_for_this_test"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"{_MODULE}.py").write_text("import threading\nby = threading.current_thread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, _MODULE, raising=False)
    return _MODULE


async def test_a_module_is_imported_by_a_thread_and_is_there_then(module: str) -> None:
    await asyncio.gather(imported(module), imported(module))
    assert sys.modules[module].by.name != "MainThread"


async def test_an_import_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError):
        await imported("mended_for_this_test")
    (tmp_path / "mended_for_this_test.py").touch()
    invalidate_caches()
    await imported("mended_for_this_test")
    assert sys.modules.pop("mended_for_this_test").__file__ == str(tmp_path / "mended_for_this_test.py")
