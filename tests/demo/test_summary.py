import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.demo.summary import MAX_KEYWORDS, MAX_SENTENCE_GRAPHEMES, MAX_SENTENCES, summarise

ENGLISH = (
    "It was raining. The monks copied books, and every monastery lent its books to other monasteries to be copied. "
    "Tea was served. Nobody knows why."
)
CHINESE = "今天下雨。修士们在修道院里抄写书籍，一座修道院把书籍借给另一座修道院。我喜欢喝茶。书就这样传开。"
JAPANESE = "今日は雨です。瓦版は木版で刷られ、瓦版を売る読売が町角で声を上げた。お茶を飲む。人は読む。"
ARABIC = "الجو جميل. كان الحمام الزاجل ينقل الرسائل بين المدن، وفي كل مدينة برج للحمام. شربنا الشاي؟ نعم."


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "begins"),
        [(ENGLISH, "The monks"), (CHINESE, "修士们"), (JAPANESE, "瓦版は"), (ARABIC, "كان الحمام")],
    )
    def test_the_one_that_holds_most_of_the_text_is_chosen_whole(self, text: str, begins: str) -> None:
        summary = summarise(text).summary
        assert summary.startswith(begins)
        assert summary in text
        assert summary[-1] in ".。؟"

    def test_chinese_sentences_stand_without_spaces(self) -> None:
        assert summarise("写经写经。" * 8).summary == "写经写经。写经写经。"

    def test_arabic_within_japanese_keeps_its_spaces(self) -> None:
        arabic = "حمام حمام زاجل. حمام زاجل حمام."
        assert summarise(
            "あいうえおかきくけこさしすせそたちつてとなにぬねの。" * 6 + arabic
        ).summary.endswith(arabic)

    def test_the_chosen_stay_in_their_order(self) -> None:
        text = " ".join(f"Number {place} of the pigeons flew to tower {place}." for place in range(1, 13))
        chosen = [int(number) for number in regex.findall(r"Number (\d+)", summarise(text).summary)]
        assert len(chosen) == 3
        assert chosen == sorted(chosen)

    def test_there_are_at_most_five(self) -> None:
        assert summarise("A pigeon flew. " * 400).summary.count(".") == MAX_SENTENCES

    def test_a_whole_sentence_is_preferred_to_a_torn_one(self) -> None:
        text = "of pigeons and pigeons and pigeons again. The pigeons flew home. And then the pigeons of the pigeons"
        assert summarise(text).summary == "The pigeons flew home."

    def test_figures_and_addresses_do_not_end_a_sentence(self) -> None:
        assert summarise("Version 3.5 of fanfold.dev costs 1.25 units.").summary.endswith("1.25 units.")

    def test_a_sentence_without_an_end_is_cut_between_graphemes(self) -> None:
        family = "👩‍👩‍👧‍👦"
        assert summarise(family * 1_000).summary == family * MAX_SENTENCE_GRAPHEMES + "…"

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=400) | st.text(alphabet="ab .!。！؟\n修道の🙂\u200d", max_size=200))
    def test_any_text_gives_a_summary_made_of_it(self, text: str) -> None:
        result = summarise(text)
        assert result == summarise(text)
        assert result.characters == len(text)
        assert len(result.keywords) <= MAX_KEYWORDS
        assert bool(result.summary) == bool(text.strip())
        assert set(result.summary) <= set(text) | {" ", "…"}


class TestKeywords:
    @pytest.mark.parametrize(
        ("text", "keyword"),
        [(ENGLISH, "books"), (CHINESE, "书籍"), (JAPANESE, "瓦版"), (ARABIC, "حمام"), ("🔥 🔥 no", "🔥")],
    )
    def test_what_comes_often_is_one(self, text: str, keyword: str) -> None:
        assert keyword in summarise(text).keywords

    def test_small_words_are_none(self) -> None:
        assert summarise("The it of and was. The it of and was. In 1846 we were as in 1846.").keywords == ()

    def test_pairs_that_overlap_stand_once(self) -> None:
        keywords = summarise("修道院 修道院 修道院").keywords
        assert keywords == ("修道",)


class TestLanguage:
    @pytest.mark.parametrize(
        ("text", "language"),
        [
            (ENGLISH, "en"),
            (CHINESE, "zh"),
            (JAPANESE, "ja"),
            (ARABIC, "ar"),
            ("写経所の朝", "ja"),
            ("コピー", "ja"),
            ("안녕하세요", "ko"),
            ("Почта шла быстро", "ru"),
            ("Ταχυδρομείο", "el"),
            ("डाक", "hi"),
            ("《永乐大典》 (Yongle)", "en"),
            ("他说 OK，然后离开了修道院", "zh"),
            ("🙂👩‍👩‍👧 123 …", "und"),
            ("", "und"),
        ],
    )
    def test_is_that_of_the_script_that_prevails(self, text: str, language: str) -> None:
        assert summarise(text).language == language
