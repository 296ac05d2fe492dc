import pytest
from pydantic import SecretStr

from fanfold.core.crypto import KeyRing, SealBroken, WeakSecret, key_id_of

OLD, NEW = (SecretStr(f"an {age} secret of the tests, long enough to be taken") for age in ("old", "new"))


def test_a_sealed_secret_opens_for_its_owner_alone():
    ring = KeyRing([NEW])
    sealed = ring.seal(SecretStr("sk-上游"), bound_to="a")
    assert ring.unseal(sealed, bound_to="a").get_secret_value() == "sk-上游"
    with pytest.raises(SealBroken):
        ring.unseal(sealed, bound_to="b")


def test_equal_secrets_are_sealed_differently_and_never_in_clear():
    ring = KeyRing([NEW])
    first, second = (ring.seal(SecretStr("credential"), bound_to="a") for _ in range(2))
    assert first != second
    assert b"credential" not in first


@pytest.mark.parametrize("at", [0, 5, -1])
def test_a_changed_byte_breaks_the_seal(at):
    ring = KeyRing([NEW])
    sealed = bytearray(ring.seal(SecretStr("credential"), bound_to="a"))
    sealed[at] ^= 1
    with pytest.raises(SealBroken):
        ring.unseal(bytes(sealed), bound_to="a")


def test_what_the_old_key_made_holds_while_it_is_in_the_ring():
    before, both, after = KeyRing([OLD]), KeyRing([NEW, OLD]), KeyRing([NEW])
    sealed = before.seal(SecretStr("credential"), bound_to="a")
    assert both.unseal(sealed, bound_to="a").get_secret_value() == "credential"
    assert before.digest("key") in both.digests("key")
    assert both.digest("key") == after.digest("key") != before.digest("key")
    assert key_id_of(sealed) == before.key_ids[0] == both.key_ids[1]
    with pytest.raises(SealBroken) as broken:
        after.unseal(sealed, bound_to="a")
    assert key_id_of(sealed) in broken.value.explanation
    assert "fanfold secrets reseal" in broken.value.explanation
    assert key_id_of(sealed) not in broken.value.detail  # which a client is told


@pytest.mark.parametrize(
    "secrets", [[], ["short"], ["a secret of the tests, long enough to be taken", "short"]]
)
def test_refuses_a_missing_or_short_secret_and_says_how_to_make_one(secrets):
    with pytest.raises(WeakSecret, match="token_urlsafe"):
        KeyRing([SecretStr(secret) for secret in secrets])
