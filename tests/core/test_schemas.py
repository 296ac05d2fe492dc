import pytest

from fanfold.core.schemas import AnswerModel, Page, ReadModel


@pytest.mark.parametrize("base", [AnswerModel, ReadModel, Page[int]])
def test_an_answer_is_built_when_it_is_first_given(base: type[AnswerModel]):
    class Said(base):  # type: ignore[misc, valid-type]  # of each base
        word: str
        data: tuple[int, ...] = ()

    assert not Said.__pydantic_complete__
    assert Said(word="好").model_dump(include={"word"}) == {"word": "好"}
    assert Said.__pydantic_complete__
