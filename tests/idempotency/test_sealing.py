import pytest
from pydantic import SecretStr

from fanfold.core.crypto import SEAL_BYTES, KeyRing
from fanfold.core.identifiers import uuid7
from fanfold.idempotency.errors import AnswerLost
from fanfold.idempotency.sealing import PART_BYTES, Sealing, parts_of
from fanfold.idempotency.types import KeyedRequest

MiB = 1024 * 1024
RING = KeyRing([SecretStr("a secret of the tests, long enough to be taken")])


def keyed(**changes: object) -> KeyedRequest:
    values = {"tenant_id": uuid7(), "route": "/v1/process", "key": "k", "body_hashes": (b"",)} | changes
    return KeyedRequest(**values)  # type: ignore[arg-type] # values of the right types, by name


@pytest.mark.parametrize(
    "sizes", [[], [0], [1, 2, 3], [PART_BYTES], [PART_BYTES, 1], [1, PART_BYTES], [3 * MiB, 7], [500_000] * 9]
)
def test_parts_hold_the_pieces_in_order_and_none_is_over_a_mebibyte_when_sealed(sizes: list[int]):
    pieces = [bytes([place]) * size for place, size in enumerate(sizes, 65)]
    parts = list(parts_of(pieces))
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(part) == PART_BYTES for part in parts[:-1])
    assert all(0 < len(part) <= PART_BYTES for part in parts)
    sealing = Sealing(RING, keyed(), uuid7())
    assert all(len(sealing.seal(0, part)) == len(part) + SEAL_BYTES <= MiB for part in parts)


def test_a_part_opens_at_its_place_alone():
    request, mine = uuid7(), keyed()
    sealed = Sealing(RING, mine, request).seal(1, "秘密".encode())
    assert Sealing(RING, mine, request).open(1, sealed) == "秘密".encode()
    others = [
        keyed(tenant_id=uuid7(), key=mine.key),
        keyed(tenant_id=mine.tenant_id, route="/process/"),
        keyed(tenant_id=mine.tenant_id, key="l"),
    ]
    for other in others:
        with pytest.raises(AnswerLost):
            Sealing(RING, other, request).open(1, sealed)
    for place, whose in ((0, request), (1, uuid7())):
        with pytest.raises(AnswerLost):
            Sealing(RING, mine, whose).open(place, sealed)


def test_a_missing_part_is_told():
    with pytest.raises(AnswerLost):
        Sealing(RING, keyed(), uuid7()).open(0, None)
