from fanfold.fanout.splitters.paragraphs import paragraph_ends, paragraphs
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks


def test_paragraphs_stand_between_blank_lines():
    text = "one\nstill one\n\ntwo\r\n \t\r\n\r\n  three\u2029four\n"
    ends = [end for batch in paragraph_ends(text, 0, len(text)) for end in batch]
    spans = list(zip([0, *ends], [*ends, len(text)], strict=True))
    assert chunks(text, spans) == ["one\nstill one\n\n", "two\r\n \t\r\n\r\n", "  three\u2029", "four\n"]


def test_a_line_end_of_two_code_points_is_no_blank_line():
    assert list(paragraph_ends("one\r\ntwo", 0, 8)) == []


def test_whole_paragraphs_up_to_the_size():
    text = "第一段。\n\n第二段。\n\n第三段很长，很长。还有一句。"
    spans = paragraphs(text, Split(by="paragraphs", size=12))
    assert chunks(text, spans) == ["第一段。\n\n第二段。\n\n", "第三段很长，很长。", "还有一句。"]
