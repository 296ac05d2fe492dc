"""What signs access tokens, and what keeps it from that: without the libraries, which come with `core/jwt.py`."""

from typing import Literal, get_args

from pydantic import SecretStr

from fanfold.core.values import value

Algorithm = Literal["RS256", "ES256", "HS256"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


class TokenInvalid(Exception):
    """A token does not hold. Why is not said: it would only help who made it up."""


class UnfitKey(Exception):
    """A key cannot sign tokens; the message says what to do."""


@value
class SigningKey:
    """A key with its one algorithm. `private` is PEM, or the secret of HS256; `public` is what others verify with."""

    kid: str
    algorithm: Algorithm
    private: SecretStr
    public: SecretStr
