from fanfold.fanout.splitters.markdown import markdown
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks

FENCE = "```py\nx = 1\n\n# no heading\ny = 2\n```\n\n"
TEXT = f"# Title\n\nIntro.\n\n## Part\nText.\n\n{FENCE}After.\n\nEnd\n---\n\nLast words.\n"


def split_markdown(text: str, size: int, overlap: int = 0) -> list[str]:
    return chunks(text, markdown(text, Split(by="markdown", size=size, overlap=overlap)))


def test_sections_stay_whole_where_they_fit():
    first, second, third = (
        "# Title\n\nIntro.\n\n",
        f"## Part\nText.\n\n{FENCE}After.\n\n",
        "End\n---\n\nLast words.\n",
    )
    assert split_markdown(TEXT, 70) == [first, second, third]


def test_a_fence_stays_whole_where_it_fits_with_the_blank_line_and_the_heading_in_it():
    assert FENCE in split_markdown(TEXT, 40)


def test_a_heading_is_never_the_end_of_a_chunk_before_its_section():
    text = "Some words before it.\n\n# Heading\n\n" + "Sentence of it. " * 10
    assert split_markdown(text, 60)[:2] == [
        "Some words before it.\n\n",
        "# Heading\n\n" + "Sentence of it. " * 3,
    ]


def test_headings_that_follow_each_other_stay_together():
    text = "Before.\n\n# One\n## Two\n\nText of it is here.\n"
    assert split_markdown(text, 36) == ["Before.\n\n", "# One\n## Two\n\nText of it is here.\n"]


def test_a_table_stays_whole_where_it_fits_and_falls_into_rows():
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n"
    assert split_markdown(f"Words above it.\n\n{table}\nBelow.\n", 45) == [
        "Words above it.\n\n",
        f"{table}\n",
        "Below.\n",
    ]
    assert split_markdown(table, 25) == ["| a | b |\n|---|---|\n", "| 1 | 2 |\n| 3 | 4 |\n"]


def test_a_fence_is_closed_by_its_own_kind_and_length():
    code = "~~~~ text\n```\n~~~\n~~~~~\n"
    assert split_markdown(f"{code}After the code.\n", 30) == [code, "After the code.\n"]


def test_a_fence_never_closed_goes_to_the_end():
    code = "```\ncode\n\n# no heading\n\nmore\n"
    assert split_markdown(f"Words.\n{code}", len(code)) == ["Words.\n", code]


def test_fences_in_lists_and_quotes():
    code = "  ```\n  a\n\n  b\n  ```\n"
    assert split_markdown(f"- item\n{code}- other\n", len(code)) == ["- item\n", code, "- other\n"]


def test_what_is_in_backticks_on_one_line_is_no_fence():
    text = "```not a fence```\n\nA paragraph.\n\nAnother one.\n"
    assert split_markdown(text, 22) == ["```not a fence```\n\n", "A paragraph.\n\n", "Another one.\n"]


def test_windows_line_ends():
    text = "# One\r\n\r\nText.\r\n\r\n## Two\r\n\r\nMore.\r\n"
    assert split_markdown(text, 16) == ["# One\r\n\r\nText.\r\n\r\n", "## Two\r\n\r\nMore.\r\n"]


def test_overlap_repeats_whole_blocks():
    assert split_markdown("One.\n\nTwo.\n\nThree.\n", 13, 6) == ["One.\n\nTwo.\n\n", "Two.\n\nThree.\n"]
