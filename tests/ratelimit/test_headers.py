from collections.abc import Iterable
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.ratelimit.base import MAX_LIMIT, Bucket, BucketState
from fanfold.ratelimit.headers import fields
from tests.ratelimit.fields import read_list

limits = st.integers(1, MAX_LIMIT)


def policy_field(buckets: Iterable[Bucket]) -> bytes:
    (name, value), _ = fields([BucketState(bucket, 0, 1) for bucket in buckets])
    assert name == b"ratelimit-policy"
    return value


def state_field(states: Iterable[BucketState]) -> bytes:
    _, (name, value) = fields(states)
    assert name == b"ratelimit"
    return value


class TestPolicyField:
    def test_the_plans_of_the_contract(self) -> None:
        free, pro = Bucket("tenant", "a", 60, 20), Bucket("key", "k", 1_200, 200)
        assert policy_field((free,)) == b'"tenant";q=20;w=20'
        assert policy_field((free, pro)) == b'"tenant";q=20;w=20, "key";q=200;w=10'

    @given(st.lists(st.tuples(limits, limits), min_size=1, max_size=4))
    def test_parses_and_adds_up(self, pairs: list[tuple[int, int]]) -> None:
        buckets = [Bucket(f"name {place}", "", rate, burst) for place, (rate, burst) in enumerate(pairs)]
        parsed = read_list(policy_field(buckets))
        for bucket, (name, parameters) in zip(buckets, parsed, strict=True):
            assert name == bucket.name
            assert list(parameters) == ["q", "w"]
            assert parameters["q"] == bucket.burst
            exact = Fraction(60 * bucket.burst, bucket.requests_per_minute)
            # The interval is whole nanoseconds, rounded up: the window is never shorter than the exact one.
            assert ceil(exact) <= parameters["w"] <= ceil(exact + Fraction(bucket.burst, 10**9))

    def test_the_same_limits_of_other_holders_read_the_same(self) -> None:
        assert policy_field((Bucket("t", "a", 60, 2),)) == policy_field((Bucket("t", "b", 60, 2),))


class TestStateField:
    @given(st.integers(0, MAX_LIMIT), st.integers(0, 60 * MAX_LIMIT))
    def test_parses_to_what_it_was_made_of(self, remaining: int, reset_s: int) -> None:
        bucket = Bucket("tenant", "a", 60, 20)
        states = (BucketState(bucket, remaining, reset_s), BucketState(bucket, 0, 1))
        parsed = read_list(state_field(states))
        assert parsed == [("tenant", {"r": remaining, "t": reset_s}), ("tenant", {"r": 0, "t": 1})]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "read"),
        [
            ('a "quoted" name', 'a "quoted" name'),
            ("back\\slash\\", "back\\slash\\"),
            (", ;=", ", ;="),
            ("", ""),
            ("~ %41", "~ %41"),
            ("line\r\nset-cookie: a=b", "line%0D%0Aset-cookie: a=b"),
            ("nul\x00del\x7f", "nul%00del%7F"),
            ("租户", "%E7%A7%9F%E6%88%B7"),
            ("テナント", "%E3%83%86%E3%83%8A%E3%83%B3%E3%83%88"),
            ("عميل", "%D8%B9%D9%85%D9%8A%D9%84"),
            ("🙂", "%F0%9F%99%82"),
            ("\ud800", "%ED%A0%80"),
        ],
    )
    def test_odd_characters_never_break_the_field(self, name: str, read: str) -> None:
        bucket = Bucket(name, "a", 60, 20)
        assert read_list(policy_field((bucket, bucket))) == [
            (read, {"q": 20, "w": 20}),
            (read, {"q": 20, "w": 20}),
        ]
        assert read_list(state_field((BucketState(bucket, 3, 4),))) == [(read, {"r": 3, "t": 4})]

    @given(st.text())
    def test_any_name_gives_one_readable_item(self, name: str) -> None:
        value = policy_field((Bucket(name, "a", 60, 20),))
        assert all(0x20 <= byte < 0x7F for byte in value)
        assert len(read_list(value)) == 1
