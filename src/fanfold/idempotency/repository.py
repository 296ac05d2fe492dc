"""Keys and answers in Postgres."""

from uuid import UUID

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.crypto import SEAL_BYTES
from fanfold.idempotency.models import IdempotencyAnswer, IdempotencyKey
from fanfold.idempotency.types import LIFETIME_H, Found, Kept, KeyedRequest

# A claim of the ledger runs as long as its reservation is there: that is gone in the very commit that settles it.
_FIND = text(
    """
    select k.body_hash, k.request_id, k.status, k.headers, k.units, k.remaining, a.parts, a.length,
           exists (select from fanfold.reservations r
                    where r.tenant_id = k.tenant_id and r.id = k.request_id) as is_running
      from fanfold.idempotency_keys k
     cross join lateral (select count(*) as parts, coalesce(sum(octet_length(t.body)), 0) as length
                           from fanfold.idempotency_answers t
                          where k.status is not null
                            and t.tenant_id = k.tenant_id and t.request_id = k.request_id) a
     where k.tenant_id = :tenant_id and k.route = :route and k.key = :key
       and k.created_at > now() - make_interval(hours => :lifetime_h)
    """
)
_TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


class IdempotencyRepository:
    """Keys of whoever `keyed.tenant_id` is; row-level security stands under every statement."""

    def __init__(self, session: AsyncSession, keyed: KeyedRequest) -> None:
        self._session, self._keyed = session, keyed

    async def try_lock(self) -> bool:
        """Keep others with the same key out until this transaction ends; False, at once, where another does so."""
        keyed = self._keyed
        name = f"idempotency:{keyed.tenant_id}:{keyed.route}:{keyed.key}"
        return bool(await self._session.scalar(_TRY_LOCK, {"name": name}))

    async def find(self) -> Found | None:
        """Return what is known of the key; None where it is new, or older than 24 hours."""
        keyed = self._keyed
        which = {"tenant_id": keyed.tenant_id, "route": keyed.route, "key": keyed.key}
        row = (
            (await self._session.execute(_FIND, which | {"lifetime_h": LIFETIME_H})).mappings().one_or_none()
        )
        if row is None:
            return None
        kept = None if row["status"] is None else _kept(row)
        return Found(body_hash=row["body_hash"], is_running=row["is_running"], kept=kept)

    async def keep(self, request_id: UUID, *, status: int, headers: dict[str, str]) -> None:
        """Write that the request was answered, in place of a key that has expired."""
        keyed = self._keyed
        values = {
            "body_hash": keyed.body_hashes[0],
            "request_id": request_id,
            "status": status,
            "headers": headers,
            "units": None,
            "remaining": None,
            "created_at": func.now(),
            "answered_at": func.now(),
        }
        which = {"tenant_id": keyed.tenant_id, "route": keyed.route, "key": keyed.key}
        statement = insert(IdempotencyKey).values(which | values)
        await self._session.execute(statement.on_conflict_do_update(index_elements=list(which), set_=values))

    async def add_part(self, request_id: UUID, part: int, body: bytes) -> None:
        """Write one sealed part of an answer; a part that is there already is left as it is."""
        row = {"tenant_id": self._keyed.tenant_id, "request_id": request_id, "part": part, "body": body}
        await self._session.execute(insert(IdempotencyAnswer).values(row).on_conflict_do_nothing())

    async def part(self, request_id: UUID, part: int) -> bytes | None:
        """Return one sealed part of an answer."""
        return await self._session.scalar(
            select(IdempotencyAnswer.body).where(
                IdempotencyAnswer.tenant_id == self._keyed.tenant_id,
                IdempotencyAnswer.request_id == request_id,
                IdempotencyAnswer.part == part,
            )
        )


def _kept(row: RowMapping) -> Kept:
    return Kept(
        request_id=row["request_id"],
        status=row["status"],
        headers=row["headers"] or {},
        units=row["units"],
        remaining=row["remaining"],
        parts=row["parts"],
        length=row["length"] - row["parts"] * SEAL_BYTES,
    )
