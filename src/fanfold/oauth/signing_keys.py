"""The ring of keys that sign access tokens: kept sealed in the database, the same for all processes."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, cast

from pydantic import SecretStr
from sqlalchemy import ColumnElement, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.cache import FreshCache
from fanfold.core.config import IdentitySettings
from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.db import Database
from fanfold.core.errors import NotReady
from fanfold.core.lazily import imported, on_call
from fanfold.core.resealing import Resealing
from fanfold.core.secret_keys import new_key
from fanfold.core.signing_key import Algorithm, SigningKey, UnfitKey
from fanfold.core.telemetry.logging import get_logger
from fanfold.core.values import value
from fanfold.oauth.models import SigningKeyRecord

RELOAD_S = 60.0
UNKNOWN_KID_S = 1.0
FILE_DECIDES = (
    "FANFOLD_JWT_KEY_FILE says which key signs: put a new one there and restart the servers. Tokens of the old one "
    "hold until they expire."
)
_NEWEST = (SigningKeyRecord.retired_at.is_not(None), SigningKeyRecord.created_at.desc(), SigningKeyRecord.kid)
_LOCK = text("select pg_advisory_xact_lock(hashtextextended('signing_keys', 0))")

_JWT = "fanfold.core.jwt"
new_private: Callable[..., SecretStr] = on_call(_JWT, "new_private")
signing_key: Callable[[str, Algorithm, SecretStr], SigningKey] = on_call(_JWT, "signing_key")
public_jwk: Callable[[SigningKey], dict[str, Any] | None] = on_call(_JWT, "public_jwk")

_log = get_logger("fanfold.oauth")

Reading = Callable[[], SigningKey]


@value
class Ring:
    """What reads each key, by `kid`, when it is first used; None for one that does not open.

    `signing` names the newest one of the wanted algorithm, if there is one.
    """

    signing: str | None
    by_kid: Mapping[str, Reading | None] = field(repr=False)


class SigningKeys:
    """Read again every minute, and for a `kid` that is unknown here at once, but once a second at most."""

    def __init__(self, database: Database, key_ring: KeyRing, settings: IdentitySettings) -> None:
        self._database, self._key_ring, self._settings = database, key_ring, settings
        self._rings: FreshCache[None, Ring] = FreshCache(ttl_s=RELOAD_S, max_entries=1)
        self._newest: FreshCache[None, Ring] = FreshCache(ttl_s=UNKNOWN_KID_S, max_entries=1)
        self._unfit: set[str] = set()

    async def ensure(self) -> None:
        """Make the first key, or take the one of `JWT_KEY_FILE` up; raises `UnfitKey`."""
        given = await asyncio.to_thread(_given, self._settings)
        async with self._database.identity_session() as session, session.begin():
            await session.execute(_LOCK)
            if given is not None:
                await self._take_up(session, given)
                return
            in_use = {record.algorithm for record in await _living(session) if record.retired_at is None}
            if self._settings.jwt_algorithm not in in_use:
                await self._add(session, await _new(self._settings.jwt_algorithm))

    async def rotate(self) -> str:
        """Make a new key, whose `kid` is returned; those before it verify until the last token of theirs is over.

        Processes that run sign with it within `RELOAD_S`, and verify with it at once. Raises `UnfitKey` where a file
        says which key signs.
        """
        if self._settings.jwt_key_file is not None:
            raise UnfitKey(FILE_DECIDES)
        made = await _new(self._settings.jwt_algorithm)
        async with self._database.identity_session() as session, session.begin():
            await session.execute(_LOCK)
            await self._retire(session)
            return await self._add(session, made)

    async def reseal(self, resealing: Resealing) -> int:
        """Seal every key with the newest secret key, those that are over too; returns how many opened."""
        async with self._database.identity_session() as session, session.begin():
            await session.execute(_LOCK)
            records = list(await session.scalars(select(SigningKeyRecord)))
            return sum(
                [resealing.record(each, "private_sealed", bound_to=_bound_to(each.kid)) for each in records]
            )

    async def signing(self) -> SigningKey:
        """Return the key that signs now; raises `NotReady` where there is none."""
        ring = await self._ring()
        return await self._read(ring, self._signing_of(ring))

    async def check(self) -> None:
        """Raise `NotReady` where no key signs now; reads none, for which libraries would have to come."""
        self._signing_of(await self._ring())

    def _signing_of(self, ring: Ring) -> str:
        if ring.signing is None or ring.signing in self._unfit:
            raise _not_ready()
        return ring.signing

    async def find(self, kid: str) -> SigningKey | None:
        """Return the key of a token, or None; raises `NotReady` for one of ours that does not open, or is not fit."""
        ring = await self._ring()
        if kid not in ring.by_kid:
            ring = await self._newest.get(None, self._load) or ring
        return await self._read(ring, kid) if kid in ring.by_kid else None

    async def public(self) -> list[dict[str, Any]]:
        """Return the public halves as JWKs, the newest first; one that cannot be read hides no other."""
        ring, keys = await self._ring(), []
        for kid in ring.by_kid:
            with suppress(NotReady):
                keys.append(await self._read(ring, kid))
        return [shown for key in keys if (shown := public_jwk(key))]

    async def _read(self, ring: Ring, kid: str) -> SigningKey:
        """Return a key of a ring. Raises `NotReady` for one that does not open, or that is not fit to sign."""
        reading = ring.by_kid[kid]
        if reading is None or kid in self._unfit:
            raise _not_ready()
        await imported(_JWT)
        try:
            return reading()
        except UnfitKey as unfit:
            _log.error(f"A key that signs tokens is not fit for it any more. {unfit}")
            self._unfit.add(kid)
            raise _not_ready() from None

    async def _ring(self) -> Ring:
        ring = await self._rings.get(None, self._load)
        assert ring is not None  # noqa: S101 (`_load` returns one or raises)
        return ring

    async def _load(self) -> Ring:
        async with self._database.identity_session() as session:
            records = await _living(session)
        by_kid = {record.kid: self._opened(record) for record in records}
        wanted = [each.kid for each in records if each.algorithm == self._settings.jwt_algorithm]
        signing = next((kid for kid in wanted if by_kid[kid] and kid not in self._unfit), None)
        if signing is None:
            _log.error(
                "No key signs tokens with FANFOLD_JWT_ALGORITHM. Where none is there, a restart makes one; "
                "`fanfold secrets rotate --signing` makes another."
            )
        return Ring(signing, by_kid)

    def _opened(self, record: SigningKeyRecord) -> Reading | None:
        """Return what reads the key; None for one that does not open, which must not stop the others."""
        try:
            private = self._key_ring.unseal(record.private_sealed, bound_to=_bound_to(record.kid))
        except SealBroken as broken:
            _log.error(f"A key that signs tokens does not open. {broken.explanation}")
            return None
        return cache(partial(signing_key, record.kid, cast("Algorithm", record.algorithm), private))

    async def _take_up(self, session: AsyncSession, given: SigningKey) -> None:
        """Let the given key sign, and those of its algorithm before it verify until their tokens are over."""
        of_algorithm = select(SigningKeyRecord).where(SigningKeyRecord.algorithm == given.algorithm)
        records = list(await session.scalars(of_algorithm.order_by(*_NEWEST)))
        # Not by `kid`: that one is another under another secret key.
        known = next((each for each in records if self._is(given, each)), None)
        if known is not None and known is records[0] and known.retired_at is None:
            return
        await self._retire(session, SigningKeyRecord.algorithm == given.algorithm)
        if known is None:
            await self._add(session, given)
        else:
            known.retired_at, known.created_at = None, await _now(session)

    def _is(self, given: SigningKey, record: SigningKeyRecord) -> bool:
        kept = self._opened(record)
        try:
            return kept is not None and kept().public == given.public
        except UnfitKey:  # which the given one may be there to replace
            return False

    async def _retire(self, session: AsyncSession, *which: ColumnElement[bool]) -> None:
        # Other processes go on signing with what they know until they read the ring again.
        lifetime = timedelta(minutes=self._settings.access_token_minutes, seconds=2 * RELOAD_S)
        old = update(SigningKeyRecord).where(SigningKeyRecord.retired_at.is_(None), *which)
        await session.execute(old.values(retired_at=func.now() + lifetime))

    def _kid(self, key: SigningKey) -> str:
        # Keyed: the name of a weak secret must not be a way to guess it.
        return self._key_ring.digest("kid:" + key.public.get_secret_value())[:12].hex()

    async def _add(self, session: AsyncSession, key: SigningKey) -> str:
        kid = self._kid(key)
        named = signing_key(kid, key.algorithm, key.private)
        record = SigningKeyRecord(
            kid=kid,
            algorithm=key.algorithm,
            private_sealed=self._key_ring.seal(key.private, bound_to=_bound_to(kid)),
            public_jwk=public_jwk(named),
            created_at=await _now(session),
        )
        session.add(record)
        await session.flush()
        return kid


def _not_ready() -> NotReady:
    detail = "Access tokens cannot be signed or judged now. The server's log tells its operator what to do."
    return NotReady(detail, headers={"Retry-After": "60"})


def _bound_to(kid: str) -> str:
    return f"signing_keys:{kid}"


def _given(settings: IdentitySettings) -> SigningKey | None:
    if settings.jwt_key_file is None:
        return None
    try:
        content = settings.jwt_key_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise UnfitKey("FANFOLD_JWT_KEY_FILE cannot be read.") from None
    return signing_key("given", settings.jwt_algorithm, SecretStr(content))


async def _new(algorithm: Algorithm) -> SigningKey:
    await imported(_JWT)
    if algorithm == "HS256":
        return signing_key("new", algorithm, SecretStr(new_key()))
    return signing_key("new", algorithm, await asyncio.to_thread(new_private, algorithm))


async def _living(session: AsyncSession) -> list[SigningKeyRecord]:
    retired_at = SigningKeyRecord.retired_at
    found = select(SigningKeyRecord).where(or_(retired_at.is_(None), retired_at > func.now()))
    return list(await session.scalars(found.order_by(*_NEWEST)))


async def _now(session: AsyncSession) -> datetime:
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return now
