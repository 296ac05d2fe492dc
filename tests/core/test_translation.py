import pytest

from fanfold.core.translation import translated


def _told(error: BaseException) -> ValueError | None:
    return ValueError("说") if isinstance(error, KeyError) else None


def test_what_it_makes_something_of_is_raised_instead_without_a_trace_of_it():
    with pytest.raises(ValueError, match="说") as raised, translated(_told):
        raise KeyError
    assert raised.value.__suppress_context__


def test_all_else_goes_on():
    with pytest.raises(OSError, match="away"), translated(_told):
        raise OSError("away")
    with translated(_told):
        pass
