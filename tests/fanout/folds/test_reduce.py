"""Reduce through the engine: neighbours in groups, within its bound of calls, priced and billed."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from fanfold.fanout.adapters.http_json import HttpJson
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.folds.reduce import MAX_CODE_POINTS, Reduce
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.types import ErrorCode, FoldOptions, Price, Status
from tests.fanout.engine import (
    ScriptedTransport,
    by_code_points,
    failing,
    fan_out,
    json_response,
    request,
    text_of,
    upstream,
)  # fmt: skip
from tests.fanout.folds.folding import results

FOLDER = upstream("folder", response_path="echo", price=Price(units_per_call=3))


def options(**fields):
    return FoldOptions(**{"by": "reduce", "separator": "|", "upstream": FOLDER, **fields})


async def bracketing(sent):
    """Answer what was sent, in brackets."""
    await asyncio.sleep(0)
    return json_response({"echo": f"[{text_of(sent)}]"})


def answering(length):
    async def answer(sent):
        await asyncio.sleep(0)
        return json_response(text_of(sent) * length)

    return answer


async def test_neighbours_are_folded_by_one_call_where_they_fit():
    transport = ScriptedTransport(answering(1), folder=bracketing)
    asked = request(5, fold=options())
    async with fan_out(transport) as fan:
        plan = await fan.plan(asked)
        answer = await fan.run(asked)
    assert answer.output == "[一|丁|丂|七|丄]"
    assert (len(answer.fold_results), answer.fold_units, answer.units) == (1, 3, 8)
    assert (plan.fold_units_max, plan.units_max) == (4 * 3, 5 + 4 * 3)
    assert [result.index for result in answer.fold_results] == [5]


async def test_answers_beyond_one_call_are_folded_in_levels_and_in_order():
    async def shortening(sent):
        text = text_of(sent)
        assert len(text) <= MAX_CODE_POINTS
        await asyncio.sleep(0)
        return json_response({"echo": "".join(dict.fromkeys(text.replace("|", "")))})

    transport = ScriptedTransport(answering(10_000), folder=shortening)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(10, fold=options()))
    assert answer.output == "".join(chr(0x4E00 + place) for place in range(10))
    assert len(answer.fold_results) == 4  # three times three of them; then what is left, with the tenth
    # Each call of each level is an event of its own: usage is unique by call_index.
    assert sorted(result.index for result in answer.fold_results) == [10, 11, 12, 13]


async def test_one_answer_is_the_output_as_it_is():
    transport = ScriptedTransport()
    async with fan_out(transport) as fan:
        answer = await fan.run(request(1, fold=options()))
    assert answer.output == {"echo": "一"}
    assert answer.fold_results == ()


async def test_two_answers_too_long_for_a_call_are_told_and_nothing_is_asked():
    transport = ScriptedTransport(answering(MAX_CODE_POINTS // 2), folder=bracketing)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(2, fold=options(separator="||")))
    assert answer.fold_error is not None
    assert answer.fold_error.code is ErrorCode.TOO_LARGE
    assert (answer.status, transport.asked("folder"), answer.units) == (Status.PARTIAL, 0, 2)


async def test_one_answer_too_long_for_a_call_is_told_before_the_others_are_folded():
    async def answer(sent):
        await asyncio.sleep(0)
        return json_response("x" * (MAX_CODE_POINTS + 1) if text_of(sent) == "七" else "short")

    transport = ScriptedTransport(answer, folder=bracketing)
    async with fan_out(transport) as fan:
        folded = await fan.run(request(6, fold=options()))
    assert folded.fold_error is not None
    assert (folded.fold_error.code, transport.asked("folder")) == (ErrorCode.TOO_LARGE, 0)


async def test_a_failed_call_of_the_fold_fails_the_fold_and_what_was_answered_is_billed():
    async def once(sent):
        is_second = transport.asked("folder") > 1
        await asyncio.sleep(0)
        if is_second:
            return json_response({}, status=400)
        return json_response({"echo": text_of(sent)[:5]})

    transport = ScriptedTransport(answering(10_000), folder=once)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(7, fold=options()))
    assert answer.fold_error is not None
    assert (answer.fold_error.code, answer.fold_error.status) == (ErrorCode.STATUS, 400)
    assert (answer.status, answer.output, answer.fold_units, answer.units) == (Status.PARTIAL, None, 3, 10)


async def test_after_a_failed_call_of_the_fold_nothing_more_is_asked_and_it_is_kept_as_failed():
    async def failing_first(sent):
        is_first = transport.asked("folder") == 1
        await asyncio.sleep(0)
        return json_response({}, status=400) if is_first else json_response({"echo": text_of(sent)[:5]})

    transport = ScriptedTransport(answering(10_000), folder=failing_first)
    two_at_a_time = replace(FOLDER, max_concurrency=2)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(30, fold=options(upstream=two_at_a_time)))
    assert transport.asked("folder") == 2  # of ten: the second was under way
    assert [(result.success, result.units) for result in answer.fold_results] == [(False, 0), (True, 3)]


async def test_the_bound_of_a_folds_input_tokens_holds_for_characters_of_four_bytes():
    price = Price(units_per_call=0, units_per_1k_input_tokens=1000)
    folder = replace(FOLDER, price=price)
    async with fan_out(ScriptedTransport()) as fan:
        plan = await fan.plan(request(2, fold=options(upstream=folder)))
    assert plan.fold_units_max == 4 * MAX_CODE_POINTS + 64


async def test_the_folds_calls_are_within_the_callers_budget():
    transport = ScriptedTransport(answering(1), folder=bracketing)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(5, fold=options(), max_units=7))
    assert answer.fold_error is not None
    assert (answer.fold_error.code, answer.units) == (ErrorCode.BUDGET, 5)


@pytest.mark.parametrize(("prompt", "sent"), [("{index}/{total}: {chunk}", "0/1: 一|丁"), (None, "一|丁")])
async def test_the_folds_prompt_stands_around_the_answers(prompt, sent):
    transport = ScriptedTransport(answering(1), folder=bracketing)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(2, fold=options(prompt=prompt)))
    assert answer.output == f"[{sent}]"


async def test_an_ai_kind_is_told_what_to_do_where_the_request_says_nothing():
    async def chat(sent):
        await asyncio.sleep(0)
        content = orjson.loads(sent.body)["messages"][0]["content"]
        return json_response({"choices": [{"message": {"content": content}}]})

    folder = upstream("folder", kind="openai", model="m")
    transport = ScriptedTransport(answering(1), folder=chat)
    async with fan_out(transport) as fan:
        answer = await fan.run(request(2, fold=options(upstream=folder)))
    assert answer.output.endswith("\n\n一|丁")
    assert answer.output.startswith("These are answers")


@pytest.mark.parametrize(
    "fields", [{"upstream": None}, {"prompt": "Combine them."}, {"upstream": upstream(kind="openai")}]
)
async def test_a_fold_that_nobody_can_carry_out_is_refused_before_anything_is_called(fields):
    transport = ScriptedTransport()
    async with fan_out(transport) as fan:
        with pytest.raises(InvalidPlan):
            await fan.plan(request(2, fold=options(**fields)))
    assert transport.requests == []


async def test_a_call_of_the_fold_is_made_when_its_turn_has_come_and_not_all_at_once():
    class Rendering(HttpJson):
        rendered = 0

        def texts(self, upstream, prompt):
            self.rendered += upstream.slug == "folder"
            return super().texts(upstream, prompt)

    adapter = Rendering()
    kinds = Kinds(splitter=lambda _kind: by_code_points, adapter=lambda _kind: adapter)
    folder = upstream("folder", max_concurrency=1, price=Price(units_per_1k_input_tokens=1))
    transport = ScriptedTransport(answering(MAX_CODE_POINTS // 2 - 1), folder=failing)
    async with fan_out(transport, kinds=kinds) as fan:
        plan = await fan.plan(request(40, fold=options(upstream=folder)))
        before = adapter.rendered
        async with fan.open(plan) as run:
            async for _ in run:
                pass
    assert (transport.asked("folder"), adapter.rendered - before) == (1, 1)


async def test_the_answers_are_put_together_off_the_loop_in_each_round():
    class Desk:
        def __init__(self) -> None:
            self.computed = 0
            self.asked: list[list[str]] = []

        async def compute(self, function):
            self.computed += 1
            return function()

        async def ask(self, texts):
            assert self.computed == len(self.asked) + 1
            self.asked.append(texts)
            return [{"n": [len(text)]} for text in texts]

    desk = Desk()
    values = ["x" * 20_000, "y" * 10_000, {"z": "字" * 20_000}, "w" * 9_000]
    assert await Reduce().fold(results(*values), options(), desk) == {"n": [27]}
    assert [list(map(len, texts)) for texts in desk.asked] == [[30_001, 29_009], [27]]


class AskingAtOnce(Reduce):
    """A fold that asks as many texts as the separator has letters, once all runs have come so far."""

    def __init__(self, all_have_come: asyncio.Barrier) -> None:
        self._all_have_come = all_have_come

    async def fold(self, _results, options, desk):
        await self._all_have_come.wait()
        return await desk.ask(list(options.separator))


async def test_the_calls_of_few_do_not_wait_for_those_of_many():
    order: list[str] = []

    async def noting(sent):
        order.append(text_of(sent))
        return await bracketing(sent)

    fold = AskingAtOnce(asyncio.Barrier(2))
    transport = ScriptedTransport(folder=noting)
    async with fan_out(transport, kinds=Kinds(splitter=lambda _: by_code_points, fold=lambda _: fold)) as fan:
        folder = replace(FOLDER, max_concurrency=1_000)
        await asyncio.gather(
            *(
                fan.run(request(1, owner=letters[0], fold=options(upstream=folder, separator=letters)))
                for letters in ("小" * 3, "大" * 200)  # who comes last goes on first
            )
        )
    assert order[:6] == ["大", "小"] * 3
