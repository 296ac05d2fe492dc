"""People on the wire."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr

from fanfold.core.schemas import AnswerModel, Name, ReadModel, StrictModel, with_example
from fanfold.users.addresses import Address
from fanfold.users.passwords import FEWEST_CHARACTERS, MOST_CHARACTERS

MAX_TOKEN = 2_000
MAX_PASSWORD = 1_024  # of a present one: somebody's may be from before there were rules
_GOOD, _GOOD_TOO = "seven green kites at noon", "correct horse battery staple"
_OF_A_MAIL = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"


class PersonRead(ReadModel):
    """Whoever has signed in, as they see themselves."""

    id: UUID
    email: str
    name: str
    is_operator: bool
    created_at: dt.datetime


class TenantOfPerson(ReadModel):
    """A tenant that a person belongs to."""

    id: UUID
    slug: str
    name: str
    role: str
    status: str = Field(description="`active`, `suspended` or `deleted`.")


NewPassword = Annotated[
    SecretStr,
    Field(
        min_length=FEWEST_CHARACTERS,
        max_length=MOST_CHARACTERS,
        examples=[_GOOD],
        description="8 to 128 characters, and not easy to guess.",
    ),
]
_EMAIL = Field(description="Whose mailbox proves who they are.")
_TOKEN = Field(
    min_length=1,
    max_length=MAX_TOKEN,
    description="What the mail holds.",
    examples=[_OF_A_MAIL],
)
_PRESENT = Field(
    min_length=1,
    max_length=MAX_PASSWORD,
    description="The password as it is now.",
    examples=[_GOOD_TOO],
)


class Registration(StrictModel):
    """Somebody who wants an account."""

    model_config = with_example(email="ada@example.com", password=_GOOD, tenant_name="Ada's workshop")

    email: Address = _EMAIL
    password: NewPassword
    tenant_name: Name | None = Field(
        default=None,
        description="A tenant to be founded once the address is verified, where registration is open.",
    )


class AddressOnly(StrictModel):
    """Whose account a mail is asked for."""

    model_config = with_example(email="ada@example.com")

    email: Address = _EMAIL


class Verification(StrictModel):
    """What the mail to an address holds."""

    model_config = with_example(token=_OF_A_MAIL)

    token: SecretStr = _TOKEN


class PasswordReset(StrictModel):
    """A new password, and what the mail holds."""

    model_config = with_example(token=_OF_A_MAIL, password=_GOOD)

    token: SecretStr = _TOKEN
    password: NewPassword


class PersonUpdate(StrictModel):
    """What people change of themselves; members left out stay as they are."""

    model_config = with_example(name="Ada Lovelace")

    name: Name = ""
    email: Address = Field(
        default="", description="A new address; it holds once it is verified. Needs `current_password`."
    )
    current_password: SecretStr | None = Field(
        default=None, max_length=MAX_PASSWORD, description="The password as it is now; for a new address."
    )


class PasswordChange(StrictModel):
    """A new password of somebody who knows the present one."""

    model_config = with_example(current_password=_GOOD_TOO, new_password=_GOOD)

    current_password: SecretStr = _PRESENT
    new_password: NewPassword


class Accepted(AnswerModel):
    """The same for every address: whether there is an account, only its mailbox learns."""

    detail: str = "If there is something to do for this address, a mail says what."
