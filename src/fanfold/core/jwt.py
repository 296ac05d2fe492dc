"""Signed tokens. The one module that knows python-jose: one algorithm a key, a ring by `kid`, all claims demanded.

Imported with the first token, in a thread (`lazily.imported`): with python-jose and cryptography's keys it is 50 ms.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jose import JOSEError, jwk, jwt
from pydantic import SecretStr

from fanfold.core.signing_key import Algorithm, SigningKey, TokenInvalid, UnfitKey
from fanfold.core.weak_secrets import HOW_TO_MAKE_ONE, weakness

ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 (RFC 9068, section 2.1; no secret)
MIN_RSA_BITS = 2048
_PARTS = 3
_DEMANDED = ("iss", "aud", "exp", "iat", "jti", "sub")
_OPTIONS = {f"require_{claim}": True for claim in _DEMANDED} | {"leeway": 0}


def public_jwk(key: SigningKey) -> dict[str, Any] | None:
    """Return a key's public half as a JWK (RFC 7517); None for HS256, which has none."""
    if key.algorithm == "HS256":
        return None
    members = jwk.construct(key.public.get_secret_value(), key.algorithm).to_dict()
    shown = {name: _text(value) for name, value in members.items()}
    return {**shown, "kid": key.kid, "alg": key.algorithm, "use": "sig"}


def signing_key(kid: str, algorithm: Algorithm, private: SecretStr) -> SigningKey:
    """Return the key made of PEM, or of the secret of HS256; raises `UnfitKey`."""
    if algorithm == "HS256":
        if found := weakness(private.get_secret_value()):
            raise UnfitKey(f"The secret of HS256 {found}. {HOW_TO_MAKE_ONE}")
        return SigningKey(kid, algorithm, private, private)
    try:
        loaded = load_pem_private_key(private.get_secret_value().encode(), password=None)
    except (ValueError, TypeError):
        raise UnfitKey("FANFOLD_JWT_KEY_FILE must hold a private key as PEM, without a password.") from None
    _check_fit(loaded, algorithm)
    public = loaded.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return SigningKey(kid, algorithm, private, SecretStr(public))


def _check_fit(key: object, algorithm: Algorithm) -> None:
    match algorithm, key:
        case "RS256", rsa.RSAPrivateKey() if key.key_size >= MIN_RSA_BITS:
            return
        case "ES256", ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1):
            return
    raise UnfitKey(
        f"FANFOLD_JWT_KEY_FILE does not fit FANFOLD_JWT_ALGORITHM={algorithm}: RS256 takes RSA of {MIN_RSA_BITS} "
        "bits or more, ES256 a key on P-256."
    )


def new_private(algorithm: Literal["RS256", "ES256"]) -> SecretStr:
    """Make a private key; RSA takes some tenths of a second, so not on the event loop."""
    if algorithm == "RS256":
        made: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = rsa.generate_private_key(65537, MIN_RSA_BITS)
    else:
        made = ec.generate_private_key(ec.SECP256R1())
    return SecretStr(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def encode(claims: Mapping[str, Any], key: SigningKey) -> str:
    """Sign an access token; `exp` and `iat` are seconds since 1970."""
    headers = {"kid": key.kid, "typ": ACCESS_TOKEN_TYPE}
    signed: str = jwt.encode(
        dict(claims), key.private.get_secret_value(), algorithm=key.algorithm, headers=headers
    )
    return signed


def key_id(token: str) -> str:
    """Return the `kid` of what has the form of an access token; raises `TokenInvalid`. Nothing of it is proved yet."""
    if token.count(".") != _PARTS - 1:
        raise TokenInvalid
    try:
        header = jwt.get_unverified_header(token)
    except JOSEError:
        raise TokenInvalid from None
    kid, kind = header.get("kid"), header.get("typ")
    if not isinstance(kid, str) or not isinstance(kind, str) or "crit" in header:
        raise TokenInvalid
    if kind.lower().removeprefix("application/") != ACCESS_TOKEN_TYPE:
        raise TokenInvalid
    return kid


def decode(token: str, key: SigningKey, *, issuer: str, now: datetime | None = None) -> dict[str, Any]:
    """Return the claims of a token that `key` signed with its own algorithm; raises `TokenInvalid`.

    Issuer and audience are both ourselves (RFC 9068, section 4); `iat` in the future does not hold.
    """
    if key_id(token) != key.kid:
        raise TokenInvalid
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public.get_secret_value(),
            algorithms=[key.algorithm],
            audience=issuer,
            issuer=issuer,
            options=_OPTIONS,
        )
    except (JOSEError, ValueError, TypeError):
        raise TokenInvalid from None
    _check_times(claims, now or datetime.now(UTC))
    return claims


_CLOCK_SKEW_S = 5


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    for name in ("exp", "iat"):
        if not isinstance(claims[name], int) or isinstance(claims[name], bool):
            raise TokenInvalid
    moment = now.timestamp()
    if claims["exp"] <= moment or claims["iat"] > moment + _CLOCK_SKEW_S:
        raise TokenInvalid


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
