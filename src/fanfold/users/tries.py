"""How often somebody may try: by account and address together, so that a stranger locks nobody out."""

import hashlib

from fanfold.core.config import IdentitySettings
from fanfold.core.errors import RateLimited
from fanfold.ratelimit.base import Bucket, Decision, RateLimitStore
from fanfold.ratelimit.errors import StoreUnavailable

# Mails of one topic to one mailbox that strangers may have sent, from however many addresses they ask.
MAILS_PER_MINUTE, MAILS_BURST = 1, 5


class AccountTries:
    """Counts over all processes. Where the store is away, nobody is refused: the narrower limits by address hold."""

    def __init__(self, store: RateLimitStore, settings: IdentitySettings) -> None:
        self._store = store
        self._limits = (settings.account_tries_per_minute, settings.account_tries_burst)

    async def take(self, account: str, address: str) -> None:
        """Count one try of an account from an address; raises `RateLimited`."""
        decision = await self._decide(Bucket("account", _key(account, address), *self._limits))
        if decision is not None and not decision.admitted:
            raise RateLimited(
                "Too many tries. Wait for `Retry-After` seconds.",
                headers={"Retry-After": str(decision.retry_after_s)},
            )

    async def may_mail(self, topic: str, email_key: str) -> bool:
        """Count one mail of a topic to a mailbox; returns whether it may be sent, which does not tell of an account.

        Each topic by itself: or a stranger who asks for mails that are never sent keeps a new password from its owner.
        """
        decision = await self._decide(
            Bucket("mailbox", _key(topic, email_key), MAILS_PER_MINUTE, MAILS_BURST)
        )
        return decision is None or decision.admitted

    async def _decide(self, bucket: Bucket) -> Decision | None:
        try:
            return await self._store.take((bucket,))
        except StoreUnavailable:
            return None


def _key(*parts: str) -> str:
    # No address of anybody in the table of buckets.
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
