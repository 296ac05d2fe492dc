"""Open sockets are checked by one timer: what ends, what stays, and how often anybody is asked."""

from collections import Counter
from uuid import uuid4

import pytest

from fanfold.auth.principal import Principal, PrincipalKind, Scope
from fanfold.auth.requirements import Requirement
from fanfold.auth.watch import SocketWatch
from fanfold.core.errors import InsufficientScope, NotAuthenticated

PEOPLE = Requirement(for_people=True)


def person(**members):
    members = {"kind": PrincipalKind.USER, "scopes": frozenset({Scope.PROCESS}), "tenant": None, **members}
    return Principal(id=uuid4(), **members)


class Known:
    """Knows some credentials; away, it raises."""

    def __init__(self, **known):
        self.known, self.asked, self.is_away = known, Counter[str](), False

    async def authenticate(self, credential):
        self.asked[credential] += 1
        if self.is_away:
            raise OSError
        return self.known.get(credential)


@pytest.fixture
def known():
    return Known(a=person(), b=person())


@pytest.fixture
def watch(known):
    return SocketWatch([known], every_s=60)


def watching(watch, known, credential):
    return watch.watching(credential, PEOPLE, known.known[credential])


async def test_a_credential_that_ends_ends_its_sockets_and_no_other(watch, known):
    a, b = (watching(watch, known, credential) for credential in "ab")
    with a as first, watching(watch, known, "a") as second, b as other:
        await watch.round()
        assert not first.ended.is_set()
        del known.known["a"]
        await watch.round()
    assert first.ended.is_set()
    assert second.ended.is_set()
    assert isinstance(first.reason, NotAuthenticated)
    assert not other.ended.is_set()


async def test_so_does_one_that_may_no_more(watch, known):
    with watching(watch, known, "a") as watched:
        known.known["a"] = person(kind=PrincipalKind.CLIENT)
        await watch.round()
    assert isinstance(watched.reason, InsufficientScope)


async def test_what_it_is_worth_now_is_taken_over(watch, known):
    with watching(watch, known, "a") as watched:
        known.known["a"] = person(max_concurrent_requests=3)
        await watch.round()
        assert watched.principal.max_concurrent_requests == 3


async def test_one_question_for_all_sockets_of_a_credential(watch, known):
    with watching(watch, known, "a"), watching(watch, known, "a"), watching(watch, known, "b"):
        assert len(watch) == 3
        await watch.round()
    assert known.asked == {"a": 1, "b": 1}
    assert len(watch) == 0
    await watch.round()
    assert known.asked.total() == 2


async def test_while_nobody_can_say_sockets_stay(watch, known):
    with watching(watch, known, "a") as watched:
        known.is_away = True
        await watch.round()
        assert not watched.ended.is_set()
        assert watch.failures == 1
        known.is_away = False
        known.known.clear()
        await watch.round()
        assert watched.ended.is_set()
