"""Everything that is kept sealed, sealed with the newest secret key."""

from sqlalchemy import or_, select

from fanfold.cli.database import acting_for, operating
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.resealing import Resealing
from fanfold.jobs.resealing import reseal_jobs
from fanfold.oauth.signing_keys import SigningKeys
from fanfold.tenants.models import Tenant
from fanfold.upstreams.mapping import bound_to as bound_to_upstream
from fanfold.upstreams.models import SHARED
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.users.models import User
from fanfold.users.totp import bound_to as bound_to_person
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.signing import bound_to as bound_to_webhook


async def reseal_everything(database: Database, ring: KeyRing, signing_keys: SigningKeys) -> dict[str, int]:
    """Return how many there were of each kind, and how many values no key of the ring opened: these stay as they are.

    Of what jobs keep, which may be much, those are meant that an older key had sealed.
    """
    resealing = Resealing(ring)
    return {
        "upstreams_resealed": await _reseal_upstreams(database, resealing),
        "webhooks_resealed": await _reseal_webhooks(database, resealing),
        "signing_keys_resealed": await signing_keys.reseal(resealing),
        "second_factors_resealed": await _reseal_second_factors(database, resealing),
        "job_texts_resealed": await _reseal_jobs(database, resealing),
        "not_opened": resealing.not_opened,
    }


async def _reseal_upstreams(database: Database, resealing: Resealing) -> int:
    async with operating(database) as session:
        tenants = list(await session.scalars(select(Tenant)))
    async with operating(database) as session:
        shared = await _reseal_owners(UpstreamRepository(session, SHARED), resealing)
    return shared + sum([await _reseal_tenants(database, tenant, resealing) for tenant in tenants])


async def _reseal_tenants(database: Database, tenant: Tenant, resealing: Resealing) -> int:
    async with acting_for(database, tenant) as session:
        return await _reseal_owners(UpstreamRepository(session, tenant.id), resealing)


async def _reseal_owners(upstreams: UpstreamRepository, resealing: Resealing) -> int:
    await upstreams.lock()
    sealed = [record for record in await upstreams.all() if record.credential_sealed]
    return sum(
        [resealing.record(each, "credential_sealed", bound_to=bound_to_upstream(each)) for each in sealed]
    )


async def _reseal_webhooks(database: Database, resealing: Resealing) -> int:
    async with operating(database) as session:
        tenants = list(await session.scalars(select(Tenant)))
    return sum([await _reseal_tenants_webhooks(database, tenant, resealing) for tenant in tenants])


async def _reseal_tenants_webhooks(database: Database, tenant: Tenant, resealing: Resealing) -> int:
    async with acting_for(database, tenant) as session:
        webhooks = WebhookRepository(session, tenant.id)
        await webhooks.count()  # which keeps others from adding one
        found = [await webhooks.lock(webhook.id) for webhook in await webhooks.all()]
        secrets = ("secret_sealed", "previous_sealed")
        return sum(
            [
                resealing.record(webhook, *secrets, bound_to=bound_to_webhook(tenant.id, webhook.id))
                for webhook in filter(None, found)
            ]
        )


async def _reseal_second_factors(database: Database, resealing: Resealing) -> int:
    """Return how many people have one, or have asked for one."""
    has_one = or_(User.totp_sealed.is_not(None), User.totp_wanted_sealed.is_not(None))
    async with database.identity_session() as session, session.begin():
        people = list(await session.scalars(select(User).where(has_one).order_by(User.id).with_for_update()))
        secrets = ("totp_sealed", "totp_wanted_sealed")
        return sum(
            [resealing.record(person, *secrets, bound_to=bound_to_person(person.id)) for person in people]
        )


async def _reseal_jobs(database: Database, resealing: Resealing) -> int:
    async with operating(database) as session:
        tenants = list(await session.scalars(select(Tenant.id)))
    return sum([await reseal_jobs(database, resealing, tenant_id) for tenant_id in tenants])
