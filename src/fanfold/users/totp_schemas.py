"""The second factor on the wire."""

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from fanfold.core.schemas import AnswerModel, StrictModel, with_example

_EXAMPLE = "correct horse battery staple"
_PASSWORD = Field(max_length=1024, description="Your present password.", examples=[_EXAMPLE])
Code = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{6}$"),
    Field(description="The six digits that the authenticator shows now; each code counts once."),
]


class TotpEnrol(StrictModel):
    """Who asks for a second factor."""

    model_config = with_example(current_password=_EXAMPLE)

    current_password: SecretStr = _PASSWORD


class TotpEnrolled(AnswerModel):
    """A new secret, shown once. It counts after `POST /v1/me/totp/confirm` with a code of it."""

    secret: str = Field(repr=False, description="In base32, to be typed into an authenticator.")
    uri: str = Field(repr=False, description="The same as an otpauth:// address, to be shown as a QR code.")


class TotpConfirm(StrictModel):
    """A code that shows that the authenticator has the secret."""

    model_config = with_example(code="492039")

    code: Code


class TotpRemove(StrictModel):
    """Who takes the second factor away."""

    model_config = with_example(current_password=_EXAMPLE, code="492039")

    current_password: SecretStr = _PASSWORD
    code: Code
