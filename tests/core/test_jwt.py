"""Signed tokens, without a server: what holds is signed by the very key, with its own algorithm, now, for us."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jose import jwk, jws
from pydantic import SecretStr

from fanfold.core.jwt import (
    ACCESS_TOKEN_TYPE,
    decode,
    encode,
    key_id,
    new_private,
    signing_key,
)
from fanfold.core.secret_keys import new_key
from fanfold.core.signing_key import ALGORITHMS, Algorithm, SigningKey, TokenInvalid

US = "https://api.example.com"
PRIVATE = {"RS256": new_private("RS256"), "ES256": new_private("ES256"), "HS256": SecretStr(new_key())}
# Others of the same family: whoever holds the key could sign with them.
SIBLINGS = {"RS256": "RS512", "HS256": "HS512"}


def key_of(algorithm: Algorithm, kid: str = "ours") -> SigningKey:
    return signing_key(kid, algorithm, PRIVATE[algorithm])


def claims() -> dict[str, Any]:
    now = int(time.time())
    return {"iss": US, "aud": US, "iat": now, "exp": now + 600, "jti": "1", "sub": "somebody"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_key_signed_holds_for_that_kid_alone(algorithm: Algorithm):
    token = encode(claims(), key_of(algorithm))
    assert decode(token, key_of(algorithm), issuer=US)["sub"] == "somebody"
    with pytest.raises(TokenInvalid):
        decode(token, key_of(algorithm, "another"), issuer=US)


@pytest.mark.parametrize("algorithm", ["RS256", "HS256"])
def test_a_sibling_of_the_key_s_algorithm_does_not_hold(algorithm: Algorithm):
    key, headers = key_of(algorithm), {"kid": "ours", "typ": ACCESS_TOKEN_TYPE}
    token = jws.sign(claims(), key.private.get_secret_value(), headers=headers, algorithm=SIBLINGS[algorithm])
    with pytest.raises(TokenInvalid):
        decode(token, key, issuer=US)


def test_what_others_verify_with_is_never_the_secret_of_an_hmac():
    # python-jose refuses PEM for one, and nothing else: not DER, nor what this text stands for.
    key = replace(key_of("ES256"), public=SecretStr("a public key in a form that jose does not know"))
    headers = {"kid": "ours", "typ": ACCESS_TOKEN_TYPE}
    token = jws.sign(claims(), key.public.get_secret_value(), headers=headers, algorithm="HS256")
    assert jwk.construct(key.public.get_secret_value(), "HS256")  # so that the algorithm is all that refuses
    with pytest.raises(TokenInvalid):
        decode(token, key, issuer=US)


@pytest.mark.parametrize(("seconds", "holds"), [(-4, True), (-60, False), (599, True), (600, False)])
def test_it_holds_from_its_time_to_its_end_and_no_longer(seconds: int, holds: bool):
    said = claims()
    token = encode(said, key_of("HS256"))
    now = datetime.fromtimestamp(said["iat"] + seconds, UTC)
    if holds:
        assert decode(token, key_of("HS256"), issuer=US, now=now) == said
    else:
        with pytest.raises(TokenInvalid):
            decode(token, key_of("HS256"), issuer=US, now=now)


@pytest.mark.parametrize("form", ["{0}.x", "{0}.x.y", "{0}.", "x.{0}"])
def test_what_has_not_three_parts_is_not_looked_into(form: str):
    token = form.format(encode(claims(), key_of("HS256")))
    with pytest.raises(TokenInvalid):
        key_id(token)
