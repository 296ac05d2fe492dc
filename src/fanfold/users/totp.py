"""The second factor: codes of an authenticator app, six digits every 30 seconds (TOTP, RFC 6238)."""

import hmac
import re
import time
from collections.abc import Callable
from uuid import UUID

from pydantic import SecretStr

from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.errors import Conflict, NotReady, RateLimited, ValidationFailed
from fanfold.core.lazily import on_call
from fanfold.core.telemetry.logging import get_logger
from fanfold.core.values import value
from fanfold.ratelimit.base import Bucket, RateLimitStore
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.users.models import User
from fanfold.users.repository import UserRepository

TOTP, random_base32 = on_call("pyotp", "TOTP"), on_call("pyotp", "random_base32")

ISSUER = "Fanfold"
STEP_S = 30
# A clock may be off, and typing takes a while: one step each way (RFC 6238, section 5.2).
WINDOW = (-1, 0, 1)
# Three of a million codes hold at a time: guessing at this rate finds one in half a year.
TRIES_PER_MINUTE, TRIES_BURST = 1, 5

WRONG_CODE = "The code is wrong, or was used. Send the one that your authenticator shows now."
KEPT = "An operator keeps the second factor: `fanfold operators reset-totp` makes another one."

_log = get_logger("fanfold.users")

_CODE = re.compile(r"\d{6}", re.ASCII)


@value
class Enrolment:
    """A new second factor, shown once: the secret in base32, and the same as an `otpauth://` address."""

    secret: SecretStr
    uri: SecretStr


class SecondFactor:
    """The second factors of people, on one identity session; `user.totp_sealed` tells who has one.

    Whoever lets a code be tried counts the try first, with `count_try`. `now` returns seconds since 1970.
    """

    def __init__(
        self,
        users: UserRepository,
        key_ring: KeyRing,
        tries: RateLimitStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._users, self._key_ring, self._tries, self._now = users, key_ring, tries, now

    async def enrol(self, user_id: UUID) -> Enrolment:
        """Make a secret, which counts once `confirm` has seen a code of it; the one asked for last is the one."""
        user = await self._users.lock_alive(user_id)
        if user.is_operator:
            raise Conflict(KEPT)
        if user.totp_sealed is not None:
            raise Conflict("You have a second factor. Take it away first, with a code of it.")
        enrolment = new_enrolment(user.email)
        await self._users.update(
            user, {"totp_wanted_sealed": seal_secret(self._key_ring, user.id, enrolment.secret)}
        )
        return enrolment

    async def confirm(self, user_id: UUID, code: str) -> None:
        """Let the wanted secret count from now on; raises 422 for a wrong code, 409 where none is wanted."""
        user = await self._users.lock_alive(user_id)
        if user.totp_wanted_sealed is None:
            raise Conflict("No second factor waits for its first code: ask for one with POST /v1/me/totp.")
        step = self._step(user.id, user.totp_wanted_sealed, code, after=None)
        if step is None:
            raise _wrong_code()
        await self._users.update(
            user, {"totp_sealed": user.totp_wanted_sealed, "totp_wanted_sealed": None, "totp_step": step}
        )

    async def check(self, user: User, code: str) -> bool:
        """Tell whether the code holds, which then never holds again."""
        return await self._take(await self._users.lock_alive(user.id), code)

    async def remove(self, user_id: UUID, code: str) -> None:
        """Take the second factor away; raises 422 for a wrong code, 409 for operators and where there is none."""
        user = await self._users.lock_alive(user_id)
        if user.is_operator:
            raise Conflict(KEPT)
        if user.totp_sealed is None:
            raise Conflict("You have no second factor.")
        if not await self._take(user, code):
            raise _wrong_code()
        await self._users.update(user, {"totp_sealed": None})

    async def count_try(self, user_id: UUID) -> None:
        """Count a try of whoever knows the password already; raises `RateLimited`, or `NotReady` where nobody counts.

        Before the person's row is locked: many who guess at once wait for the store, and not for each other.
        """
        try:
            decision = await self._tries.take((Bucket("totp", str(user_id), TRIES_PER_MINUTE, TRIES_BURST),))
        except StoreUnavailable:  # uncounted, a million codes are soon tried
            raise NotReady("Codes cannot be counted now. Try again.", headers={"Retry-After": "1"}) from None
        if not decision.admitted:
            raise RateLimited(
                "Too many codes were tried. Wait for `Retry-After` seconds.",
                headers={"Retry-After": str(decision.retry_after_s)},
            )

    async def _take(self, user: User, code: str) -> bool:
        step = self._step(user.id, user.totp_sealed, code, after=user.totp_step)
        if step is not None:
            await self._users.update(user, {"totp_step": step})
        return step is not None

    def _step(self, user_id: UUID, sealed: bytes | None, code: str, *, after: int | None) -> int | None:
        """Return the step whose code this is, where it comes after the newest one that was taken."""
        if sealed is None or not _CODE.fullmatch(code):
            return None
        secret = self._open(user_id, sealed)
        codes, present = TOTP(secret.get_secret_value()), int(self._now()) // STEP_S
        for step in (present + offset for offset in WINDOW):
            if (after is None or step > after) and hmac.compare_digest(codes.generate_otp(step), code):
                return step
        return None

    def _open(self, user_id: UUID, sealed: bytes) -> SecretStr:
        try:
            return self._key_ring.unseal(sealed, bound_to=bound_to(user_id))
        except SealBroken as broken:
            _log.error(f"A second factor does not open. {broken.explanation}", user_id=str(user_id))
            raise


def bound_to(user_id: UUID) -> str:
    """Return what a sealed secret is bound to: given to another person it does not open."""
    return f"totp/{user_id}"


def new_enrolment(email: str) -> Enrolment:
    """Make a secret (160 bits) for the person of this address."""
    secret = random_base32()
    uri = TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)
    return Enrolment(SecretStr(secret), SecretStr(uri))


def seal_secret(key_ring: KeyRing, user_id: UUID, secret: SecretStr) -> bytes:
    """Return the secret as it is kept."""
    return key_ring.seal(secret, bound_to=bound_to(user_id))


def _wrong_code() -> ValidationFailed:
    return ValidationFailed(WRONG_CODE, errors=[{"loc": ["body", "code"], "msg": WRONG_CODE, "type": "code"}])
