import time

from fanfold.core.identifiers import uuid7


def test_is_a_version_7_uuid_of_now():
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs((made.int >> 80) / 1000 - time.time()) < 60


def test_ids_are_distinct_and_ordered_by_time():
    first = [uuid7() for _ in range(1000)]
    time.sleep(0.002)
    second = [uuid7() for _ in range(1000)]
    assert len({*first, *second}) == 2000
    assert max(first) < min(second)
