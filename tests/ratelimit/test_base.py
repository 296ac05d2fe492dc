import pytest

from fanfold.ratelimit.base import MAX_LIMIT, Bucket


class TestBucket:
    @pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
    def test_refuses_limits_that_are_none(self, limit: int) -> None:
        with pytest.raises(ValueError, match="must be 1"):
            Bucket("tenant", "a", limit, 1)
        with pytest.raises(ValueError, match="must be 1"):
            Bucket("tenant", "a", 1, limit)

    def test_takes_the_smallest_and_the_largest(self) -> None:
        assert Bucket("tenant", "a", 1, MAX_LIMIT).burst == MAX_LIMIT
