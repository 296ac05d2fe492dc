from pathlib import Path

import pytest
import regex

TEXT = Path(__file__).parents[2].joinpath("examples", "long-text.txt").read_text("utf-8")


class TestLongText:
    def test_is_long_enough_to_be_worth_fanning_out(self) -> None:
        assert 12_000 <= len(TEXT.encode()) <= 16_384

    @pytest.mark.parametrize(
        ("script", "at_least"),
        [("Latin", 5_000), ("Han", 400), ("Hiragana", 200), ("Arabic", 400), ("Extended_Pictographic", 15)],
    )
    def test_holds_every_script_that_a_splitter_can_get_wrong(self, script: str, at_least: int) -> None:
        assert len(regex.findall(rf"\p{{{script}}}", TEXT)) >= at_least

    def test_holds_joined_emoji(self) -> None:
        assert "👩‍👩‍👧‍👦" in TEXT
