"""The ring of keys that sign: rotated beside running servers, begun with a file, of one algorithm or another."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from jose import jwt
from pydantic import SecretStr
from sqlalchemy import text

from fanfold.core.config import IdentitySettings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.errors import NotReady
from fanfold.core.jwt import new_private, signing_key
from fanfold.core.resealing import Resealing
from fanfold.core.signing_key import ALGORITHMS, Algorithm, SigningKey, UnfitKey
from fanfold.core.startup import explain
from fanfold.oauth.models import SigningKeyRecord
from fanfold.oauth.signing_keys import SigningKeys
from tests.fixtures.app import SECRET, Product, product_settings, running_product
from tests.fixtures.database import TestDatabase

NEWER = SecretStr(secrets.token_urlsafe(48))


def private_of(algorithm: Algorithm) -> str:
    if algorithm == "HS256":
        return secrets.token_urlsafe(48)
    return new_private(algorithm).get_secret_value()


def given(folder: Path, algorithm: Algorithm, content: str) -> IdentitySettings:
    """Return settings of a new file with this key."""
    file = folder / f"{secrets.token_hex(4)}.pem"
    file.write_text(f"{content}\n")
    return IdentitySettings(jwt_algorithm=algorithm, jwt_key_file=file)


@asynccontextmanager
async def keys_of(
    database: TestDatabase, settings: IdentitySettings, ring: tuple[SecretStr, ...] = (SECRET,)
) -> AsyncIterator[SigningKeys]:
    """Yield the ring as a process that starts sees it."""
    async with Database(database.app_url, pool_size=4, pool_timeout_s=10) as opened:
        yield SigningKeys(opened, KeyRing(ring), settings)


async def started(
    database: TestDatabase, settings: IdentitySettings, ring: tuple[SecretStr, ...] = (SECRET,)
) -> tuple[str, str]:
    """Start a process, and return the `kid` and the private key that it signs with."""
    async with keys_of(database, settings, ring) as keys:
        await keys.ensure()
        signing = await keys.signing()
        return signing.kid, signing.private.get_secret_value()


async def execute(database: TestDatabase, statement: str) -> Any:
    """Return the first value of the first row."""
    opened = Database(database.app_url, pool_size=1, pool_timeout_s=10)
    async with opened, opened.identity_session() as session, session.begin():
        return (await session.execute(text(statement))).scalar()


async def count(database: TestDatabase, where: str = "true") -> int:
    return int(await execute(database, f"select count(*) from fanfold.signing_keys where {where}"))


async def let_retired_go(database: TestDatabase) -> None:
    over = "update fanfold.signing_keys set retired_at = now() where retired_at is not null returning 1"
    await execute(database, over)


async def status(product: Product, token: str) -> int:
    answer = await product.stranger().get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


class TestRotation:
    async def test_beside_running_servers_no_token_is_lost_and_a_new_one_is_taken_at_once(self, own_database):
        settings = product_settings(own_database)
        async with running_product(own_database, settings) as first:
            person = await first.signed_in(await first.tenant())
            old = person.tokens["access_token"]
            async with keys_of(own_database, settings.identity) as keys:
                made = await keys.rotate()
            # Signs with the old key for a while yet: it has not read the ring again.
            assert kid_of((await person.sign_in())["access_token"]) == kid_of(old) != made
            async with running_product(own_database, settings) as second:
                person.http = second.stranger()
                new = (await person.sign_in())["access_token"]
                assert kid_of(new) == made
                for product in (first, second):
                    assert [await status(product, token) for token in (old, new)] == [200, 200]
                published = (await second.stranger().get("/.well-known/jwks.json")).json()["keys"]
                assert [key["kid"] for key in published] == [made, kid_of(old)]

    async def test_a_retired_key_verifies_as_long_as_its_tokens_live_and_no_longer(self, own_database):
        settings = product_settings(own_database)
        async with running_product(own_database, settings) as product:
            token = (await product.signed_in(await product.tenant())).tokens["access_token"]
        async with keys_of(own_database, settings.identity) as keys:
            await keys.rotate()
        minutes = settings.identity.access_token_minutes
        assert await count(own_database, f"retired_at > now() + interval '{minutes} min'") == 1
        async with running_product(own_database, settings) as product:
            assert await status(product, token) == 200
        await let_retired_go(own_database)
        async with running_product(own_database, settings) as product:
            assert await status(product, token) == 401


class TestFile:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    async def test_begins_the_ring_and_of_two_processes_at_once_one_adds_it(
        self, own_database, tmp_path, algorithm
    ):
        private = private_of(algorithm)
        settings = given(tmp_path, algorithm, private)
        both = await asyncio.gather(*(started(own_database, settings) for _ in range(2)))
        assert both[0] == both[1]
        assert both[0][1] == private.strip()
        assert await count(own_database) == 1

    async def test_signs_instead_of_the_key_that_was_made_and_of_the_file_before(
        self, own_database, tmp_path
    ):
        made, _ = await started(own_database, IdentitySettings(jwt_algorithm="ES256"))
        one, other = (given(tmp_path, "ES256", private_of("ES256")) for _ in range(2))
        kids = [(await started(own_database, each))[0] for each in (one, other, one)]
        assert kids[0] == kids[2]
        assert len({made, *kids}) == 3
        await let_retired_go(own_database)
        kids += [(await started(own_database, each))[0] for each in (other, one)]  # from before their end
        assert kids[3:] == [kids[1], kids[0]]
        assert await count(own_database, "retired_at is null") == 1

    async def test_stays_one_key_when_the_secret_key_is_replaced(self, own_database, tmp_path):
        settings = given(tmp_path, "ES256", private_of("ES256"))
        before = await started(own_database, settings)
        assert await started(own_database, settings, (NEWER, SECRET)) == before
        async with keys_of(own_database, settings, (NEWER, SECRET)) as keys:
            assert await keys.reseal(Resealing(KeyRing([NEWER, SECRET]))) == 1
        assert await started(own_database, settings, (NEWER,)) == before
        assert await count(own_database) == 1

    async def test_signs_though_what_was_kept_of_it_does_not_open(self, own_database, tmp_path):
        settings = given(tmp_path, "ES256", private_of("ES256"))
        before = await started(own_database, settings)
        after = await started(own_database, settings, (NEWER,))
        assert (after[0] != before[0], after[1]) == (True, before[1])
        assert await count(own_database, "retired_at is null") == 1

    async def test_says_which_key_signs_so_that_nothing_else_rotates_it(self, own_database, tmp_path):
        async with keys_of(own_database, given(tmp_path, "ES256", private_of("ES256"))) as keys:
            await keys.ensure()
            with pytest.raises(UnfitKey, match="FANFOLD_JWT_KEY_FILE says which key signs"):
                await keys.rotate()
        assert await count(own_database, "retired_at is null") == 1

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize("content", ["", "nonsense-that-is-no-key", "\0\n", b"\xff\xfe\x00"])
    async def test_that_holds_no_key_is_said_in_words(self, own_database, tmp_path, algorithm, content):
        settings = given(tmp_path, algorithm, "")
        assert settings.jwt_key_file is not None
        settings.jwt_key_file.write_bytes(content if isinstance(content, bytes) else content.encode())
        said = await self._refusal(own_database, settings)
        assert (
            "HS256" in said if algorithm == "HS256" and isinstance(content, str) else "JWT_KEY_FILE" in said
        )
        assert "nonsense" not in said

    @pytest.mark.parametrize(("algorithm", "other"), [("RS256", "ES256"), ("ES256", "RS256")])
    async def test_of_another_algorithm_is_said_in_words(self, own_database, tmp_path, algorithm, other):
        said = await self._refusal(own_database, given(tmp_path, algorithm, private_of(other)))
        assert f"does not fit FANFOLD_JWT_ALGORITHM={algorithm}" in said

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    async def test_that_is_not_there_is_said_in_words(self, own_database, tmp_path, algorithm):
        for path in (tmp_path / "absent.pem", tmp_path):
            settings = IdentitySettings(jwt_algorithm=algorithm, jwt_key_file=path)
            assert await self._refusal(own_database, settings) == "FANFOLD_JWT_KEY_FILE cannot be read."

    async def _refusal(self, database: TestDatabase, settings: IdentitySettings) -> str:
        with pytest.raises(UnfitKey) as raised:
            await started(database, settings)
        assert await count(database) == 0
        return explain(raised.value) or ""


class TestAlgorithm:
    async def test_changes_with_the_setting_and_tokens_of_the_one_before_hold(self, own_database):
        settings = product_settings(own_database)
        tokens = []
        for algorithm in ("ES256", "HS256", "ES256"):
            changed = settings.model_copy(update={"identity": IdentitySettings(jwt_algorithm=algorithm)})
            async with running_product(own_database, changed) as product:
                person = await product.signed_in(await product.tenant())
                tokens.append(person.tokens["access_token"])
                assert jwt.get_unverified_header(tokens[-1])["alg"] == algorithm
                assert [await status(product, token) for token in tokens] == [200] * len(tokens)
        assert kid_of(tokens[0]) == kid_of(tokens[2])

    async def test_comes_back_with_a_key_of_its_own_where_the_old_one_is_retired(self, own_database):
        before, after = (IdentitySettings(jwt_algorithm=each) for each in ("ES256", "HS256"))
        old, _ = await started(own_database, before)
        async with keys_of(own_database, after) as keys:
            await keys.rotate()
        new, _ = await started(own_database, before)
        assert new != old
        await let_retired_go(own_database)
        assert (await started(own_database, before))[0] == new


async def keep_unfit(keys: SigningKeys) -> None:
    """Keep a key that opens, and is none."""
    sealed = KeyRing((SECRET,)).seal(SecretStr("no key"), bound_to="signing_keys:bad")
    async with keys._database.identity_session() as session, session.begin():
        session.add(SigningKeyRecord(kid="bad", algorithm="ES256", private_sealed=sealed))


class TestReading:
    async def test_a_key_is_read_when_it_is_first_used_and_once(
        self, own_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads: list[str] = []

        def read(kid: str, algorithm: Algorithm, private: SecretStr) -> SigningKey:
            reads.append(kid)
            return signing_key(kid, algorithm, private)

        async with keys_of(own_database, product_settings(own_database).identity) as keys:
            await keys.ensure()
            monkeypatch.setattr("fanfold.oauth.signing_keys.signing_key", read)
            await keys.check()
            assert reads == []
            used = await keys.signing()
            assert used == await keys.signing() == await keys.find(used.kid)
            assert reads == [used.kid]

    async def test_one_that_is_not_fit_any_more_is_told_once_and_signs_no_longer_and_hides_no_other(
        self, own_database: TestDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = product_settings(own_database).identity.model_copy(update={"jwt_algorithm": "ES256"})
        async with keys_of(own_database, settings) as keys:
            await keys.ensure()
            good = await keys.signing()
            await keep_unfit(keys)
            keys._rings.forget(None)
            await keys.check()
            for use in (keys.signing(), keys.find("bad"), keys.check(), keys.signing()):
                with pytest.raises(NotReady):
                    await use
            assert [shown["kid"] for shown in await keys.public()] == [good.kid]
            assert await keys.find(good.kid) == good
            assert caplog.text.count("A key that signs tokens is not fit") == 1
            keys._rings.forget(None)  # as each minute
            await keys.check()
            assert await keys.signing() == good

    async def test_a_file_replaces_one_that_is_not_fit_any_more(
        self, own_database: TestDatabase, tmp_path: Path
    ) -> None:
        async with keys_of(own_database, product_settings(own_database).identity) as keys:
            await keep_unfit(keys)
        content = private_of("ES256")
        _, private = await started(own_database, given(tmp_path, "ES256", content))
        assert private.strip() == content.strip()
