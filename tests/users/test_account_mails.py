"""Mails of accounts that have changed by the time they are sent; the relay may be late, and asks again."""

from typing import Any
from uuid import UUID

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.mail.base import Mail
from fanfold.outbox.types import Message
from fanfold.users.account_mails import ADDRESS_CHANGING, FORGOTTEN, NEW_ADDRESS, VERIFICATION, AccountMails
from tests.fixtures.app import Person, Product
from tests.users.mailbox import new_address


class Kept:
    """Keeps what it is to send."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


async def _sent(product: Product, topic: str, **payload: Any) -> list[str]:
    """Return to whom mail goes when the relay comes with this message."""
    state, kept = product.app.state, Kept()
    mails = AccountMails(state.database, kept, state.mailed_tokens, server="https://api.example.com")
    message = Message(tenant_id=UUID(int=0), id=uuid7(), topic=topic, payload=payload, attempts=1)
    await mails.handlers[topic](message)
    return [mail.to for mail in kept.mails]


def _change(person: Person, was: str, email: str) -> dict[str, str]:
    return {"user_id": str(person.id), "was": was, "email": email}


@pytest.mark.parametrize("topic", [NEW_ADDRESS, ADDRESS_CHANGING])
async def test_a_change_that_was_asked_for_before_another_one_is_not_mailed(product: Product, topic: str):
    person, new = await product.person(), new_address()
    assert await _sent(product, topic, **_change(person, new_address(), new)) == []
    told = new if topic == NEW_ADDRESS else person.email
    assert await _sent(product, topic, **_change(person, person.email, new)) == [told]


@pytest.mark.parametrize("topic", [NEW_ADDRESS, ADDRESS_CHANGING])
async def test_whose_account_has_ended_gets_none(product: Product, topic: str):
    person = await product.person(is_active=False)
    assert await _sent(product, topic, **_change(person, person.email, new_address())) == []
    assert (
        await _sent(
            product, topic, **(_change(person, person.email, new_address()) | {"user_id": str(uuid7())})
        )
        == []
    )


@pytest.mark.parametrize("topic", [FORGOTTEN, VERIFICATION])
async def test_an_address_without_an_account_gets_none(product: Product, topic: str):
    waiting = await product.person(is_verified=False)
    assert await _sent(product, topic, email_key=new_address()) == []
    assert await _sent(product, topic, email_key=waiting.email) == [waiting.email]
