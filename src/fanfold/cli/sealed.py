"""Which secret keys are needed: what is kept sealed names the key it was sealed with."""

from collections import Counter

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fanfold.cli.database import operating
from fanfold.cli.output import Refused
from fanfold.core.crypto import KeyRing, key_id_of
from fanfold.core.db import Database
from fanfold.core.errors import NotReady
from fanfold.jobs.models import JobPart, JobResult, JobRow
from fanfold.oauth.models import SigningKeyRecord
from fanfold.upstreams.models import UpstreamRecord
from fanfold.users.models import User
from fanfold.webhooks.models import Webhook

_LOST = (
    "Where a key is lost: set those credentials anew, `fanfold operators reset-totp` for operators, "
    "`fanfold secrets rotate --signing` for tokens; what jobs keep goes with `DELETE /v1/jobs/{id}`, or by itself."
)

_TOO_MANY = "; of texts of jobs there are too many to look at all of them"


async def check_sealed(database: Database, ring: KeyRing) -> str:
    """Return how many sealed values there are; refuses, naming the keys, where the ring lacks one of theirs."""
    found, left_out = await _by_key(database)
    missing = {key_id: kinds for key_id, kinds in found.items() if key_id not in ring.key_ids}
    if not missing:
        many = sum(sum(kinds.values()) for kinds in found.values())
        return f"{many}, all of keys that are there{_TOO_MANY if left_out else ''}"
    named = "; ".join(f"{key_id}, needed by {_counted(kinds)}" for key_id, kinds in sorted(missing.items()))
    raise Refused(
        f"Missing in FANFOLD_SECRET_KEYS: {named}. Put it back, run `fanfold secrets reseal`, and only then take it "
        f"out. {_LOST}"
    )


async def _by_key(database: Database) -> tuple[dict[str, Counter[str]], bool]:
    """Return how many of which kind each key has sealed, and whether some texts of jobs could not be looked at."""
    found: dict[str, Counter[str]] = {}
    left_out = False
    async with operating(database) as session:
        await _count(session, found, "credentials of upstreams", UpstreamRecord.credential_sealed)
        await _count(session, found, "secrets of webhooks", Webhook.secret_sealed)
        await _count(session, found, "secrets of webhooks", Webhook.previous_sealed)
        await _count(session, found, "second factors", User.totp_sealed)
        await _count(session, found, "second factors", User.totp_wanted_sealed)
    async with database.identity_session() as session:
        await _count(session, found, "keys that sign", SigningKeyRecord.private_sealed)
    for texts in (JobRow.request, JobRow.output, JobPart.body, JobResult.body):
        # There may be millions: what takes the database too long is left out, the others are told.
        try:
            async with operating(database) as session:
                await _count(session, found, "texts of jobs", texts)
        except NotReady:
            left_out = True
    return found, left_out


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
