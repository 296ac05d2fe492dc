"""The danger of a moment that no clock can be made to meet: slots used while they are being given back."""

from fanfold.ratelimit.concurrency.base import Holder
from fanfold.ratelimit.concurrency.shares import Shares

WIDE = Holder("tenant", "tenant:a", 64)  # 4 spare slots


def test_what_is_being_given_back_is_not_given_out():
    shares = Shares(workers=1)
    assert not shares.take([WIDE], 0.0)
    demands = shares.demands([[WIDE]], 0.0)
    assert [(each.in_use, each.wanted) for each in demands] == [(0, 3)]  # its own, and half of the spare ones
    shares.apply(demands, [12], valid_until=10.0, retry_at=0.0)
    assert shares.take([WIDE], 0.0)
    assert shares.has_to_give_back(WIDE.key)
    assert [(each.in_use, each.wanted) for each in shares.demands((), 0.0)] == [(1, 3)]
    assert [shares.take([WIDE], 0.0) for _ in range(3)] == [True, True, False]


def test_at_most_256_keys_are_asked_for_at_once_and_none_is_forgotten():
    shares = Shares(workers=1)
    waiting = [[Holder("tenant", f"tenant:{number}", 1)] for number in range(300)]
    demands = shares.demands(waiting, 0.0)
    assert len(demands) == 256
    shares.apply(demands, [1] * 256, valid_until=10.0, retry_at=0.0)
    assert {each.key for each in demands} | {each.key for each in shares.demands(waiting, 0.0)} == {
        holder.key for [holder] in waiting
    }
