"""OAuth forms and answers on the wire.

Unknown parameters of a form are ignored, and FastAPI takes one without a value as left out (RFC 6749, section 3.2).
"""

from pydantic import ConfigDict, Field

from fanfold.core.schemas import AnswerModel, BodyModel

MAX_PASSWORD = 1024


class TokenForm(BodyModel):
    """A token request. Which members count depends on `grant_type`."""

    model_config = ConfigDict(extra="ignore")

    grant_type: str = Field(
        default="password",
        max_length=50,
        description="`password` (also when missing), `refresh_token` or `client_credentials`.",
    )
    username: str = Field(default="", max_length=320, description="password: the mail address.")
    password: str = Field(
        default="",
        max_length=MAX_PASSWORD,
        repr=False,
        description="password: the person's.",
        json_schema_extra={"format": "password"},
    )
    otp: str | None = Field(
        default=None, max_length=10, repr=False, description="password: the code of the second factor."
    )
    tenant: str | None = Field(
        default=None, max_length=63, description="Slug of the tenant to act for; else the oldest membership."
    )
    scope: str | None = Field(
        default=None, max_length=500, description="Space-separated; else all that the role has."
    )
    refresh_token: str | None = Field(
        default=None, max_length=200, repr=False, description="refresh_token: the one given last."
    )
    client_id: str | None = Field(
        default=None, max_length=100, description="client_credentials: the client's id, unless by HTTP Basic."
    )
    client_secret: str | None = Field(
        default=None,
        max_length=200,
        repr=False,
        description="client_credentials: its secret, unless by HTTP Basic.",
    )


class TokenOnlyForm(BodyModel):
    """A token that something is to be done with."""

    model_config = ConfigDict(extra="ignore")

    token: str = Field(max_length=4096, repr=False, description="An access token or a refresh token.")
    token_type_hint: str | None = Field(default=None, max_length=50, description="Not needed here.")


class IntrospectionAnswer(AnswerModel):
    """What a token is (RFC 7662, section 2.2); of one that is not active nothing else is said."""

    active: bool
    token_type: str | None = Field(default=None, description="`Bearer` or `refresh_token`.")
    scope: str | None = None
    client_id: str | None = None
    exp: int | None = Field(default=None, description="Seconds since 1970.")
    iat: int | None = None
    sub: str | None = Field(default=None, description="Id of the person, or of the client.")
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    tid: str | None = Field(default=None, description="Id of the tenant.")


class TokenAnswer(AnswerModel):
    """Tokens, shown once (RFC 6749, section 5.1)."""

    access_token: str = Field(repr=False)
    token_type: str = "bearer"  # noqa: S105 (the kind; no secret)
    expires_in: int = Field(description="Seconds.")
    refresh_token: str | None = Field(
        default=None, repr=False, description="For `grant_type=refresh_token`; used once."
    )
    scope: str


class ErrorAnswer(AnswerModel):
    """A refusal (RFC 6749, section 5.2)."""

    error: str
    error_description: str
