"""Open WebSockets, checked again and again: a credential that ends, ends the sockets that it has opened."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fanfold.auth.credentials import Authenticator, authenticate
from fanfold.auth.principal import Principal
from fanfold.auth.requirements import Requirement
from fanfold.core.chores import Chore
from fanfold.core.errors import FanfoldError, NotAuthenticated

# Principals are kept for a second from the start of their load: with half a second more, an end is noticed within two.
EVERY_S = 0.5
_AT_ONCE = 4
ENDED = "The credential has expired or was revoked. Connect again with one that holds."


class Watched:
    """One open socket: who it is at present, and from when `ended` is set, why it has to end."""

    def __init__(self, requirement: Requirement, principal: Principal) -> None:
        self.requirement, self.principal = requirement, principal
        self.ended = asyncio.Event()
        self.reason: FanfoldError | None = None

    def judge(self, principal: Principal | None) -> None:
        """Take over what the credential is worth now: its limits too may have changed."""
        try:
            if principal is None:
                raise NotAuthenticated(ENDED)
            self.requirement.check(principal)
            self.principal = principal
        except FanfoldError as error:
            self.reason = error
            self.ended.set()


class SocketWatch(Chore):
    """One timer for all sockets of a process, one look-up for all sockets of a credential.

    While nobody can say whether a credential holds, the database being away, its sockets stay as they are.
    """

    refused = "Open WebSockets could not be checked; they stay open."

    def __init__(self, authenticators: Sequence[Authenticator], *, every_s: float = EVERY_S) -> None:
        super().__init__(every_s=every_s)
        self._authenticators = authenticators
        self._watched: dict[str, set[Watched]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watched.values()))

    @contextmanager
    def watching(self, credential: str, requirement: Requirement, principal: Principal) -> Iterator[Watched]:
        """Watch a socket while the body runs."""
        watched = Watched(requirement, principal)
        self._watched.setdefault(credential, set()).add(watched)
        try:
            yield watched
        finally:
            others = self._watched[credential]
            others.discard(watched)
            if not others:
                del self._watched[credential]

    async def piece(self) -> int:
        """Check every credential once; returns 0, for more is due only after a while."""
        credentials = iter(list(self._watched))
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._check(credentials))
        return 0

    async def _check(self, credentials: Iterator[str]) -> None:
        for credential in credentials:
            principal = await authenticate(self._authenticators, credential)
            for watched in list(self._watched.get(credential, ())):
                watched.judge(principal)
