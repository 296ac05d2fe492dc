from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from fanfold.fanout.adapters.http_json import HttpJson
from fanfold.fanout.errors import CallFailed, InvalidPlan
from fanfold.fanout.transports.base import UpstreamRequest
from fanfold.fanout.types import ErrorCode, Prompt
from tests.fanout.engine import json_response, upstream

TEXT = "多 & 語=言 #? 😀 %20 +"


async def exchange(answer=None, text=TEXT, **fields):
    sent: list[UpstreamRequest] = []

    async def send(request):
        sent.append(request)
        return json_response({"ok": True} if answer is None else answer)

    result = await HttpJson().call(upstream(**fields), Prompt(text, 2, 5), send)
    return result, sent[0]


def query(request: UpstreamRequest):
    return parse_qsl(urlsplit(request.url).query, keep_blank_values=True, strict_parsing=True)


class TestPost:
    async def test_the_default_body_is_the_text(self):
        result, sent = await exchange()
        assert (sent.method, sent.url) == ("POST", "https://a.test/")
        assert orjson.loads(sent.body) == {"text": TEXT}
        assert sent.headers["content-type"] == "application/json"
        assert result.result == {"ok": True}

    async def test_a_template_takes_the_place_of_the_body(self):
        _, sent = await exchange(request_template={"q": ["{chunk}", "{index}/{total}"], "top": 3})
        assert orjson.loads(sent.body) == {"q": [TEXT, "2/5"], "top": 3}


class TestGet:
    async def test_text_is_the_query(self):
        _, sent = await exchange(method="GET")
        assert (sent.method, sent.body) == ("GET", None)
        assert query(sent) == [("text", TEXT)]
        assert sent.url.isascii()
        assert "content-type" not in sent.headers

    async def test_the_templates_members_are_the_query_beside_what_the_address_has(self):
        template = {"q": "{chunk}", "n": 7, "part": "{index} of {total}", "yes": True, "x": 1.5}
        _, sent = await exchange(method="GET", url="https://a.test/p?key=v", request_template=template)
        assert query(sent) == [
            ("key", "v"),
            ("q", TEXT),
            ("n", "7"),
            ("part", "2 of 5"),
            ("yes", "true"),
            ("x", "1.5"),
        ]

    @pytest.mark.parametrize(
        "template", [{"a": {"b": "{chunk}"}}, {"a": ["{chunk}"]}, {"a": None}, "{chunk}", []]
    )
    def test_a_nested_template_cannot_be_a_query(self, template):
        with pytest.raises(InvalidPlan, match="GET"):
            HttpJson().check(upstream(method="GET", request_template=template))


@pytest.mark.parametrize("method", ["PUT", "post", ""])
def test_other_methods_are_refused(method):
    with pytest.raises(InvalidPlan, match="POST or GET"):
        HttpJson().check(upstream(method=method))


class TestTokens:
    async def test_they_are_read_in_either_name(self):
        result, _ = await exchange({"usage": {"input_tokens": 3, "output_tokens": 0}})
        assert (result.input_tokens, result.output_tokens) == (3, 0)

    def test_the_prompt_is_the_rendered_template_s_strings(self):
        prompt = upstream(
            request_template={"system": "你", "user": ["a{chunk}b", {"deep": "{index}"}], "n": 7}
        )
        assert HttpJson().texts(prompt, Prompt("日本", 0, 1)) == ["你", "a日本b", "0"]


class TestResponsePath:
    @pytest.mark.parametrize(
        ("path", "picked"),
        [
            ("a.b", [1, {"c": "x"}]),
            ("a.b[1].c", "x"),
            ("a.b[?c].c | [0]", "x"),
            ("{n: n, c: a.b[1].c}", {"n": 2, "c": "x"}),
            ("join('-', words)", "one-two"),
            ("length(words)", 2),
            ("words[::-1]", ["two", "one"]),
            ("n == `2`", True),
            ("sort_by(rows, &k)[].v", ["b", "a"]),
            ("map(&v, rows)", ["a", "b"]),
            ("none || n", 2),
        ],
    )
    async def test_it_picks_from_the_answer(self, path, picked):
        answer = {
            "a": {"b": [1, {"c": "x"}]},
            "n": 2,
            "words": ["one", "two"],
            "rows": [{"k": 2, "v": "a"}, {"k": 1, "v": "b"}],
            "none": None,
        }
        result, _ = await exchange(answer, response_path=path)
        assert result.result == picked

    @pytest.mark.parametrize(
        "path", ["missing", "none", "length(n)", "words[::0]", "sum(words)", '`"\\ud800"`']
    )
    async def test_what_does_not_fit_or_picks_nothing_is_an_invalid_answer(self, path):
        with pytest.raises(CallFailed) as failure:
            await exchange({"n": 2, "none": None, "words": ["one"]}, response_path=path)
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER

    @pytest.mark.parametrize(
        "path", ["", "a..b", "foo(a)", "a" * 501, "(" * 200, "to_string(@)", "[?a==" + "(" * 150]
    )
    def test_what_is_no_expression_is_refused_before_anything_is_called(self, path):
        with pytest.raises(InvalidPlan, match="response_path"):
            HttpJson().check(upstream(response_path=path))

    @pytest.mark.parametrize(
        ("path", "answer"),
        [
            ("|".join(["[@,@]"] * 80), {"a": 1}),
            ("|".join(["[@,@]"] * 15), {"a": "x" * 1000}),
            ("join(glue, list)", {"glue": "x" * 100_000, "list": ["y"] * 10_000}),
            ("@" + "[]" * 40, [[1]] * 1000),
            ("|".join(["sort(@)"] * 60), list(range(10_000))),
            ("&&".join(["@==@"] * 70), [list(range(50)) for _ in range(3000)]),
            ("[].a.b.c.d", [{"a": 1}] * 30_000),
        ],
    )
    async def test_a_bomb_is_cut_off(self, path, answer):
        HttpJson().check(upstream(response_path=path))
        with pytest.raises(CallFailed) as failure:
            await exchange(answer, response_path=path)
        assert failure.value.error.code is ErrorCode.TOO_LARGE

    async def test_it_may_not_nest_deeper_than_can_be_sent_on(self):
        with pytest.raises(CallFailed) as failure:
            await exchange({"a": 1}, response_path="[" * 100 + "a" + "]" * 100)
        assert failure.value.error.code is ErrorCode.INVALID_ANSWER

    async def test_infinity_does_not_leave_it(self):
        result, _ = await exchange({"a": "1e999"}, response_path="[to_number(a)]")
        assert result.result == [None]
