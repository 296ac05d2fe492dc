"""Access tokens that nobody signed, or not so: each is a trick that some verifier has fallen for."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jose import jws, jwt
from pydantic import SecretStr

from fanfold.core.jwt import new_private, public_jwk, signing_key
from fanfold.core.secret_keys import new_key
from fanfold.core.signing_key import SigningKey

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Forge:
    """A real token's parts, and the key that signed it: for tricks that even its holder must not succeed with."""

    token: str
    key: SigningKey

    @property
    def header(self) -> Claims:
        found: Claims = jwt.get_unverified_header(self.token)
        return found

    @property
    def claims(self) -> Claims:
        found: Claims = jwt.get_unverified_claims(self.token)
        return found

    def signed(
        self,
        claims: Claims | None = None,
        *,
        drop: str | None = None,
        key: SigningKey | None = None,
        **header: Any,
    ) -> str:
        """Sign what is really ours with changes: of the claims, of the header, or with another key."""
        key = key or self.key
        changed = {**self.claims, **(claims or {})}
        changed.pop(drop or "", None)
        payload = json.dumps(changed).encode()
        made: str = jws.sign(
            payload,
            key.private.get_secret_value(),
            headers={**self.header, **header},
            algorithm=key.algorithm,
        )
        return made

    def unsigned(self, algorithm: str) -> str:
        return f"{_part({**self.header, 'alg': algorithm})}.{_part(self.claims)}."

    def with_secret(self, secret: bytes) -> str:
        """Sign with HMAC: the public key as its secret, which is no secret."""
        body = f"{_part({**self.header, 'alg': 'HS256'})}.{_part(self.claims)}"
        return f"{body}.{_base64(hmac.digest(secret, body.encode(), 'sha256'))}"

    @property
    def public_der(self) -> bytes:
        public = load_pem_public_key(self.key.public.get_secret_value().encode())
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _of_algorithm(forge: Forge) -> Iterator[tuple[str, str]]:
    for spelling in ("none", "None", "NONE", "nOnE", ""):
        yield f"alg {spelling!r}", forge.unsigned(spelling)
    for name, secret in (
        ("PEM", forge.key.public.get_secret_value().encode()),
        ("DER", forge.public_der),
        ("kid", forge.key.kid.encode()),
        ("nothing", b""),
    ):
        yield f"HS256 with {name} as its secret", forge.with_secret(secret)
    other = signing_key(forge.key.kid, "ES256", new_private("ES256"))
    yield "another key under our kid", forge.signed(key=other)
    symmetric = signing_key(forge.key.kid, "HS256", SecretStr(new_key()))
    yield "another algorithm under our kid", forge.signed(key=symmetric)
    _header, payload, signature = forge.token.split(".")
    yield (
        "alg of another family over our signature",
        f"{_part({**forge.header, 'alg': 'RS256'})}.{payload}.{signature}",
    )


def _of_header(forge: Forge) -> Iterator[tuple[str, str]]:
    mine = signing_key("mine", "ES256", new_private("ES256"))
    jwk = public_jwk(mine)
    for kid in ("unknown", "../../etc/passwd", "' or 1=1 --", "", 7, None, [forge.key.kid]):
        yield f"kid {kid!r}", forge.signed(key=mine, kid=kid)
    yield "jwk embedded", forge.signed(key=mine, jwk=jwk)
    yield (
        "jwk embedded, our kid",
        forge.signed(key=mine, jwk={**(jwk or {}), "kid": forge.key.kid}, kid=forge.key.kid),
    )
    for name in ("jku", "x5u"):
        yield name, forge.signed(None, key=mine, **{name: "https://attacker.example/keys.json"})
    yield "x5c", forge.signed(key=mine, x5c=[_base64(forge.public_der)])
    yield "crit", forge.signed(crit=["exp"], exp=1)
    for kind in ("JWT", "", None, "rt+jwt", "at+jwt "):
        yield f"typ {kind!r}", forge.signed(typ=kind)


def _of_claims(forge: Forge) -> Iterator[tuple[str, str]]:
    now = int(time.time())
    for name in ("iss", "aud", "exp", "iat", "jti", "sub", "sid", "tid"):
        yield f"no {name}", forge.signed(drop=name)
    for name, value in (
        ("iss", "https://attacker.example"), ("iss", ""), ("iss", [forge.claims["iss"]]),
        ("aud", "https://attacker.example"), ("aud", None), ("aud", forge.claims["aud"] + "/"),
        ("exp", now - 1), ("exp", 0), ("exp", -1), ("exp", str(now + 600)), ("exp", now + 600.5), ("exp", True),
        ("exp", None), ("iat", now + 3600), ("iat", "now"), ("sub", str(uuid4())), ("sub", None),
        ("sid", str(uuid4())), ("sid", "not an id"), ("sid", None), ("sid", 7), ("sid", ["x"]),
        ("tid", str(uuid4())), ("tid", None), ("nbf", now + 3600), ("jti", 7),
    ):  # fmt: skip
        yield f"{name} {value!r}", forge.signed({name: value})


def _of_form(forge: Forge) -> Iterator[tuple[str, str]]:
    header, payload, signature = forge.token.split(".")
    richer = _part({**forge.claims, "scope": "operator process keys:write tenant:write"})
    yield "payload edited", f"{header}.{richer}.{signature}"
    yield "no signature", f"{header}.{payload}."
    yield "half a signature", f"{header}.{payload}.{signature[: len(signature) // 2]}"
    yield "longer signature", f"{forge.token}AA"
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{forge.token}.x"
    yield "five parts, as JWE has", f"{header}.{payload}.{signature}.x.y"
    yield "two tokens", f"{forge.token},{forge.token}"
    yield "header is a list", f"{_part([1])}.{payload}.{signature}"
    yield (
        "payload is a list",
        jws.sign(
            b"[1]", forge.key.private.get_secret_value(), headers=forge.header, algorithm=forge.key.algorithm
        ),
    )
    yield (
        "payload is no JSON",
        jws.sign(
            b"\xff", forge.key.private.get_secret_value(), headers=forge.header, algorithm=forge.key.algorithm
        ),
    )
    yield (
        "deep payload",
        jws.sign(
            b"[" * 900 + b"]" * 900,
            forge.key.private.get_secret_value(),
            headers=forge.header,
            algorithm=forge.key.algorithm,
        ),
    )
    yield "deep header", f"{_base64(b'[' * 1200)}.{payload}.{signature}"
    yield "not base64", f"{header}.{payload}.!!!!"
    yield "dots", ".."


def forgeries(forge: Forge) -> dict[str, str]:
    """Return every forgery by the name of its trick."""
    found = [*_of_algorithm(forge), *_of_header(forge), *_of_claims(forge), *_of_form(forge)]
    return dict(found)
