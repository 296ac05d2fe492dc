"""`.env.example` names every setting, with its default where it has one."""

import re
from pathlib import Path

from fanfold.core.config import ClientSettings, Settings, origins

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()
LINES = dict(re.findall(r"^#(FANFOLD_[A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def test_every_setting_is_there_and_nothing_else() -> None:
    client = {"FANFOLD_URL", "FANFOLD_API_KEY"}
    assert {f"FANFOLD_{name.upper()}" for name in ClientSettings.model_fields} == client
    assert set(LINES) == {origin.name for origin in origins(Settings())} | client


def test_what_has_a_default_shows_it() -> None:
    for origin in [each for each in origins(Settings()) if each.source == "default"]:
        match origin.value:
            case bool():
                assert LINES[origin.name] == str(origin.value).lower()
            case int() | float():
                assert float(LINES[origin.name]) == origin.value


def test_every_line_has_a_sentence_above_it() -> None:
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#FANFOLD_"):
            above = lines[number - 1]
            assert above.startswith("# "), line


def test_what_is_set_to_nothing_is_as_good_as_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("FANFOLD_DATABASE_URL", "FANFOLD_METRICS_PORT", "FANFOLD_TRUSTED_PROXIES"):
        monkeypatch.setenv(name, "")
    settings = Settings()
    assert settings.database.url is None
    assert settings.telemetry.metrics_port is None
    assert settings.server.trusted_proxies == []
