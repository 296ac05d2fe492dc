import secrets

import pytest
from pydantic import SecretStr

from fanfold.core.config import SecuritySettings
from fanfold.core.crypto import KeyRing, WeakSecret
from fanfold.core.jwt import signing_key
from fanfold.core.secret_keys import new_key
from fanfold.core.signing_key import UnfitKey
from fanfold.core.weak_secrets import weakness
from fanfold.main import create_app
from tests.fixtures.app import product_settings, running

PLACEHOLDERS = [
    "changeme-changeme-changeme-changeme",
    "CHANGE_ME_TO_A_LONG_RANDOM_STRING!!",
    "please change this to something else",
    "<replace-with-a-random-32-char-string>",
    "your-secret-key-goes-here-0f9a8b7c6d5e",
    "your-256-bit-secret-your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "my_super_secret_key_for_jwt_tokens_2026",
    "django-insecure-8x!k2&w@q9z#v7b$n4m%c1r",
    "this is not a secret, this is not a secret",
    "placeholder_0a1b2c3d4e5f6g7h8i9j0k",
    "example.com/0a1b2c3d4e5f6g7h8i9j0k1l",
    "P@ssw0rd-Passw0rd-P@ssw0rd-Passw0rd",
    "0123456789abcdef0123456789abcdef",
    "12345678901234567890123456789012",
    "abcdefghijklmnopqrstuvwxyz-and-more-of-it",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "请在正式环境里把这一行替换成您自己生成的足够长而且足够随机的一串字符",
]
REGULAR = [
    "x" * 64,
    "ab" * 20,
    "abcabcabc" * 4,
    "0f1e2d3c4b5a6978" * 2,
    "aA1!" * 10,
    "-" * 31 + "x",
    " " * 40,
]
SHORT = ["", "short", "hunter2", "5M0VriFqUg5Qre1AT1o8roaF7w6oHUS"]


@pytest.mark.parametrize("secret", [*PLACEHOLDERS, *REGULAR, *SHORT])
def test_what_could_be_guessed_is_refused_and_not_shown(secret):
    with pytest.raises(WeakSecret) as refused:
        KeyRing([SecretStr(new_key()), SecretStr(secret)])
    said = str(refused.value)
    assert said.startswith("Key 2 of FANFOLD_SECRET_KEYS ")
    assert "token_urlsafe(48)" in said
    assert not secret or secret not in said.replace("shorter", "")


@pytest.mark.parametrize("secret", ["changeme-changeme-changeme-changeme", "x" * 64, "short"])
def test_nor_does_it_sign_tokens(secret):
    with pytest.raises(UnfitKey, match="token_urlsafe") as refused:
        signing_key("one", "HS256", SecretStr(secret))
    assert secret not in str(refused.value).replace("shorter", "")


def test_random_keys_are_taken_however_they_were_made():
    kinds = (
        new_key,
        lambda: secrets.token_hex(16),
        lambda: secrets.token_hex(32),
        lambda: secrets.token_urlsafe(24),
    )
    assert [key for make in kinds for key in (make() for _ in range(1_000)) if weakness(key)] == []


def test_a_sentence_is_taken():
    assert weakness("先展开再折叠，四匹马跑过江户的桥，铃声一路响到大坂城下，没有人听见它停下来") is None
    assert weakness("four horses ran over the bridge at dusk") is None


async def test_no_server_starts_with_one(database_urls):
    settings = product_settings(database_urls)
    weak = settings.model_copy(
        update={"security": SecuritySettings(secret_keys=[SecretStr(PLACEHOLDERS[0])])}
    )
    with pytest.raises(WeakSecret):
        async with running(create_app(weak)):
            pass
