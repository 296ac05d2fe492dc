import threading

import pytest

from fanfold.core.offload import Offload
from fanfold.fanout.errors import InvalidPlan, TooManyChunks, UnknownKind
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.planning import MAX_CALLS, MAX_UNITS, is_long, make_plan
from fanfold.fanout.types import FanOutRequest, FoldOptions, Price, Split
from tests.fanout.engine import KINDS, ScriptedTransport, fan_out, request, upstream


def plan(asked: FanOutRequest, max_chunks: int | None = None):
    return make_plan(asked, KINDS, max_chunks=max_chunks)


def cost(host: str, units: int):
    return upstream(host, price=Price(units_per_call=units))


def test_a_price_beyond_counting_is_refused():
    with pytest.raises(InvalidPlan, match="units"):
        plan(request(2, cost("a", MAX_UNITS)))


def test_overlap_does_not_hide_too_many_chunks():
    """Nearly all overlap makes a chunk of each letter: a prefix tells, and the whole is not cut."""
    cut_lengths = []

    def cut(text: str, split: Split):
        cut_lengths.append(len(text))
        return KINDS.splitter("characters")(text, split)

    asked = FanOutRequest(text="x" * 50_000, upstreams=(upstream(),), split=Split(size=1000, overlap=999))
    with pytest.raises(TooManyChunks):
        make_plan(asked, Kinds(splitter=lambda _kind: cut), max_chunks=50)
    assert max(cut_lengths) < 2000


class TestPrice:
    def test_round_robin_is_exact(self):
        made = plan(request(5, cost("a", 1), cost("b", 10)))
        assert [call.units_max for call in made.calls] == [1, 10, 1, 10, 1]
        assert made.units_max == made.units_reserved == 23

    def test_fallback_is_the_dearest(self):
        assert plan(request(5, cost("a", 1), cost("b", 10), strategy="fallback")).units_max == 50

    def test_broadcast_is_the_sum(self):
        made = plan(request(5, cost("a", 1), cost("b", 10), strategy="broadcast"))
        assert made.units_max == 55
        assert [(call.index, call.chunk.index) for call in made.calls] == [(n, n // 2) for n in range(10)]

    def test_code_points_count_with_the_overlap(self):
        text = "字" * 1000
        dear = upstream(price=Price(units_per_call=0, units_per_1k_chars=10))
        made = plan(FanOutRequest(text=text, upstreams=(dear,), split=Split(size=400, overlap=100)))
        assert [len(chunk.text) for chunk in made.chunks] == [400, 400, 400, 100]
        assert made.units_max == 4 + 4 + 4 + 1

    @pytest.mark.parametrize(("max_units", "reserved"), [(None, 5), (3, 3), (0, 0), (9, 5)])
    def test_a_lower_bound_of_the_caller_is_what_is_reserved(self, max_units, reserved):
        assert plan(request(5, max_units=max_units)).units_reserved == reserved


class TestChunks:
    def test_chunks_know_where_they_are(self):
        text = "多語言 text 😀"
        made = plan(FanOutRequest(text=text, upstreams=(upstream(),), split=Split(size=3)))
        assert "".join(chunk.text for chunk in made.chunks) == text
        assert all(chunk.text == text[chunk.start : chunk.end] for chunk in made.chunks)
        assert [chunk.index for chunk in made.chunks] == list(range(len(made.chunks)))

    def test_as_many_as_allowed_and_not_one_more(self):
        assert len(plan(request(50), max_chunks=50).chunks) == 50
        with pytest.raises(TooManyChunks, match="50"):
            plan(request(51), max_chunks=50)

    def test_far_too_many_are_refused_without_cutting_the_whole_text(self):
        longest = 0

        def cut(text, split):
            nonlocal longest
            longest = max(longest, len(text))
            return KINDS.splitter("characters")(text, split)

        kinds = Kinds(splitter=lambda _kind: cut)
        asked = FanOutRequest(text="字" * 3_000_000, upstreams=(upstream(),), split=Split(size=1))
        with pytest.raises(TooManyChunks):
            make_plan(asked, kinds, max_chunks=500)
        assert longest < 10_000

    def test_overlap_may_not_multiply_a_long_text(self):
        asked = FanOutRequest(
            text="字" * 300_000, upstreams=(upstream(),), split=Split(size=100_000, overlap=99_000)
        )
        with pytest.raises(TooManyChunks, match="overlap"):
            plan(asked)

    def test_a_short_text_may_overlap_as_it_likes(self):
        asked = FanOutRequest(text="字" * 600, upstreams=(upstream(),), split=Split(size=100, overlap=99))
        assert len(plan(asked).chunks) == 600

    def test_broadcast_is_bounded_in_calls(self):
        many = [upstream(f"u{n}") for n in range(60)]
        with pytest.raises(TooManyChunks, match=str(MAX_CALLS)):
            plan(request(2000, *many, strategy="broadcast"))


class TestRefused:
    @pytest.mark.parametrize(
        "fields",
        [
            {"upstreams": ()},
            {"text": ""},
            {"text": "a\ud800b"},
            {"split": Split(size=0)},
            {"split": Split(size=5, overlap=5)},
            {"split": Split(size=5, overlap=-1)},
            {"deadline_s": 0},
            {"timeout_s": 0},
            {"max_attempts": 0},
            {"max_units": -1},
            {"min_success": 1.1},
            {"min_success": float("nan")},
            {"upstreams": (upstream(max_concurrency=0),)},
            {"upstreams": (upstream(kind="openai"),)},
            {"upstreams": (upstream(response_path="a..b"),)},
        ],
    )
    def test_what_cannot_be_planned_says_what_to_change(self, fields):
        with pytest.raises(InvalidPlan) as refusal:
            plan(FanOutRequest(**{"text": "text", "upstreams": (upstream(),), **fields}))
        assert len(str(refusal.value)) > 10
        assert "\ud800" not in str(refusal.value)

    @pytest.mark.parametrize(
        "fields",
        [{"strategy": "dice"}, {"fold": FoldOptions(by="dice")}, {"upstreams": (upstream(kind="soap"),)}],
    )
    def test_unknown_kinds(self, fields):
        with pytest.raises(UnknownKind):
            plan(FanOutRequest(**{"text": "text", "upstreams": (upstream(),), **fields}))


class TestOffTheLoop:
    @pytest.mark.parametrize(
        ("text", "size", "count", "long"),
        [("字" * 20_000, 500, 1, False), ("字" * 20_001, 500, 1, True), ("字" * 5_000, 1, 1, True),
         ("字" * 15_000, 500, 99, True)],
    )  # fmt: skip
    def test_long_texts_and_many_calls_are_long(self, text, size, count, long):
        asked = FanOutRequest(text=text, upstreams=(upstream(),) * count, split=Split(size=size))
        assert is_long(asked) is long

    @pytest.mark.parametrize(("words", "long"), [(5_000, False), (5_001, True)])
    def test_many_long_prompts_are_long(self, words, long):
        asked = FanOutRequest(
            text="字" * 100, upstreams=(upstream(),), split=Split(size=1), prompt="{chunk}".ljust(words)
        )
        assert is_long(asked) is long

    @pytest.mark.parametrize(("chunks", "offloaded"), [(100, False), (30_000, True)])
    async def test_only_long_planning_takes_a_thread(self, chunks, offloaded):
        threads = []

        def cut(text, split):
            threads.append(threading.current_thread())
            return KINDS.splitter("characters")(text, split)

        offload = Offload(threads=1, queue=1)
        kinds = Kinds(splitter=lambda _kind: cut)
        async with fan_out(ScriptedTransport(), offload=offload, kinds=kinds) as fan:
            made = await fan.plan(request(chunks))
        offload.close()
        assert len(made.calls) == chunks
        assert [thread is not threading.main_thread() for thread in threads] == [offloaded]
