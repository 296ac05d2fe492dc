"""Everything that is kept sealed, sealed with the newest secret key."""

from sqlalchemy import or_, select

from fanfold.cli.database import acting_for, operating
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.oauth.signing_keys import SigningKeys
from fanfold.tenants.models import Tenant
from fanfold.upstreams.mapping import bound_to as bound_to_upstream
from fanfold.upstreams.models import SHARED
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.users.models import User
from fanfold.users.totp import bound_to as bound_to_person


async def reseal_everything(database: Database, ring: KeyRing, signing_keys: SigningKeys) -> dict[str, int]:
    """Return how many there were of each kind; raises `SealBroken` where one does not open with any key of the ring."""
    return {
        "upstreams_resealed": await _reseal_upstreams(database, ring),
        "signing_keys_resealed": await signing_keys.reseal(),
        "second_factors_resealed": await _reseal_second_factors(database, ring),
    }


async def _reseal_upstreams(database: Database, ring: KeyRing) -> int:
    async with operating(database) as session:
        tenants = list(await session.scalars(select(Tenant)))
    async with operating(database) as session:
        shared = await _reseal_owners(UpstreamRepository(session, SHARED), ring)
    return shared + sum([await _reseal_tenants(database, tenant, ring) for tenant in tenants])


async def _reseal_tenants(database: Database, tenant: Tenant, ring: KeyRing) -> int:
    async with acting_for(database, tenant) as session:
        return await _reseal_owners(UpstreamRepository(session, tenant.id), ring)


async def _reseal_owners(upstreams: UpstreamRepository, ring: KeyRing) -> int:
    await upstreams.lock()
    sealed = [record for record in await upstreams.all() if record.credential_sealed]
    for record in sealed:
        record.credential_sealed = _anew(ring, record.credential_sealed, bound_to_upstream(record))
    return len(sealed)


async def _reseal_second_factors(database: Database, ring: KeyRing) -> int:
    """Return how many people have one, or have asked for one."""
    has_one = or_(User.totp_sealed.is_not(None), User.totp_wanted_sealed.is_not(None))
    async with database.identity_session() as session, session.begin():
        people = list(await session.scalars(select(User).where(has_one).order_by(User.id).with_for_update()))
        for person in people:
            owner = bound_to_person(person.id)
            person.totp_sealed = _anew(ring, person.totp_sealed, owner)
            person.totp_wanted_sealed = _anew(ring, person.totp_wanted_sealed, owner)
        return len(people)


def _anew(ring: KeyRing, sealed: bytes | None, bound_to: str) -> bytes | None:
    if sealed is None:
        return None
    return ring.seal(ring.unseal(sealed, bound_to=bound_to), bound_to=bound_to)
