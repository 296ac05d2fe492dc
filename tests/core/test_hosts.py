import pytest
from pydantic import ValidationError

from fanfold.core.config import ServerSettings
from fanfold.core.hosts import host_pattern, origin
from fanfold.core.startup import explain


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", "*"),
        ("API.Example.com", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("例子.com", "xn--fsqu00a.com"),
        ("*.例子.com", "*.xn--fsqu00a.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[0:0::1]", "[::1]"),
    ],
)
def test_hosts_are_kept_as_clients_write_them(written, meant):
    assert host_pattern(written) == meant


@pytest.mark.parametrize(
    "written",
    ["https://a.b", "a.b:80", "a b", "*.", "*a.b", "a..b", ".a", "a.*.b", "[zz]", "::1", "a/b", "*.*", "👩‍👩‍👧" * 30],
)  # fmt: skip
def test_what_is_no_host_is_refused(written):
    with pytest.raises(ValueError, match="without scheme or port"):
        host_pattern(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", "*"),
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://localhost:80", "https://localhost:80"),
        ("https://例子.com", "https://xn--fsqu00a.com"),
        ("http://[0::1]:8080", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(written, meant):
    assert origin(written) == meant


@pytest.mark.parametrize(
    "written",
    ["null", "a.b", "https://a.b/c", "https://*.a.b", "https://u@a.b", "https://a.b:99999", "https://", "//a.b",
     "https://a.b?c", "https://a.b#c", "https://a.b:x", "a.b:443"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(written):
    with pytest.raises(ValueError, match="scheme://host"):
        origin(written)


def test_any_origin_with_credentials_is_refused_in_words(monkeypatch):
    named = ServerSettings(cors_origins=["https://a.b"], cors_credentials=True)
    assert named.cors_credentials
    monkeypatch.setenv("FANFOLD_CORS_ORIGINS", "https://a.b,*")
    monkeypatch.setenv("FANFOLD_CORS_CREDENTIALS", "true")
    with pytest.raises(ValidationError) as refused:
        ServerSettings()
    said = explain(refused.value)
    assert said is not None
    assert said.startswith(
        "Not valid: FANFOLD_CORS_CREDENTIALS (environment): true goes with named origins alone"
    )


def test_what_does_not_hold_is_told_without_its_value(monkeypatch):
    monkeypatch.setenv("FANFOLD_ALLOWED_HOSTS", "good.example.com,https://hunter2.example.com")
    with pytest.raises(ValidationError) as refused:
        ServerSettings()
    said = explain(refused.value)
    assert said is not None
    assert "FANFOLD_ALLOWED_HOSTS (environment)" in said
    assert "hunter2" not in said
