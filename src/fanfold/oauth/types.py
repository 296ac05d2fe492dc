"""The values of signing in."""

from pydantic import SecretStr

from fanfold.core.values import value


@value(kw_only=True)
class Issued:
    """What a grant gives: shown once. `expires_in` is in seconds; a client gets no refresh token."""

    access_token: SecretStr
    expires_in: int
    scope: str
    refresh_token: SecretStr | None = None
