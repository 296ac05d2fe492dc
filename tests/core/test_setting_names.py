"""Settings are read from their own names alone: what else an environment holds is none of theirs."""

import pytest

from fanfold.core.config import ClientSettings, Settings

FOREIGN = {
    "MAIL": "/var/mail/ada",
    "SERVER": "http://127.0.0.1:8000",
    "SECURITY": "x",
    "HOST": "192.0.2.1",
    "WORKERS": "9",
    "URL": "https://example.com",
    "API_KEY": "another's",
}


@pytest.fixture(params=["environment", ".env"])
def place(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("")
    if request.param == "environment":
        for name, value in FOREIGN.items():
            monkeypatch.setenv(name, value)
    else:
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in FOREIGN.items()))


@pytest.mark.usefixtures("place")
def test_names_of_groups_and_members_are_no_settings(monkeypatch):
    for name in ("FANFOLD_HOST", "FANFOLD_WORKERS", "FANFOLD_URL", "FANFOLD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings, client = Settings(), ClientSettings()
    assert (settings.server.host, settings.server.workers) == ("127.0.0.1", 1)
    assert (settings.database.url, client.url, client.api_key) == (None, None, None)


@pytest.mark.usefixtures("place")
def test_settings_have_their_own_names_beside_them(monkeypatch):
    monkeypatch.setenv("FANFOLD_WORKERS", "3")
    assert Settings().server.workers == 3
