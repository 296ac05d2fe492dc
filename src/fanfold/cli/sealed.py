"""Which secret keys are needed: what is kept sealed names the key it was sealed with."""

from collections import Counter

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fanfold.cli.database import operating
from fanfold.cli.output import Refused
from fanfold.core.crypto import KeyRing, key_id_of
from fanfold.core.db import Database
from fanfold.oauth.models import SigningKeyRecord
from fanfold.upstreams.models import UpstreamRecord
from fanfold.users.models import User

_LOST = (
    "Where a key is lost: set those credentials anew, `fanfold operators reset-totp` for operators, "
    "`fanfold secrets rotate --signing` for tokens."
)


async def check_sealed(database: Database, ring: KeyRing) -> str:
    """Return how many sealed secrets there are; refuses, naming the keys, where the ring lacks one of theirs."""
    found = await _by_key(database)
    missing = {key_id: kinds for key_id, kinds in found.items() if key_id not in ring.key_ids}
    if not missing:
        return f"{sum(sum(kinds.values()) for kinds in found.values())}, all of keys that are there"
    named = "; ".join(f"{key_id}, needed by {_counted(kinds)}" for key_id, kinds in sorted(missing.items()))
    raise Refused(
        f"Missing in FANFOLD_SECRET_KEYS: {named}. Put it back, run `fanfold secrets reseal`, and only then take it "
        f"out. {_LOST}"
    )


async def _by_key(database: Database) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    async with operating(database) as session:
        await _count(session, found, "credentials of upstreams", UpstreamRecord.credential_sealed)
        await _count(session, found, "second factors", User.totp_sealed)
        await _count(session, found, "second factors", User.totp_wanted_sealed)
    async with database.identity_session() as session:
        await _count(session, found, "keys that sign", SigningKeyRecord.private_sealed)
    return found


async def _count(
    session: AsyncSession,
    found: dict[str, Counter[str]],
    kind: str,
    sealed: InstrumentedAttribute[bytes] | InstrumentedAttribute[bytes | None],
) -> None:
    head = func.substring(sealed, 1, 4)
    rows = await session.execute(select(head, func.count()).where(sealed.is_not(None)).group_by(head))
    for start, number in rows:
        found.setdefault(key_id_of(start), Counter())[kind] += number


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
