import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.process import process, show_answer, show_problem


def client_for(answers: list[httpx.Response]) -> httpx.Client:
    remaining = iter(answers)
    return httpx.Client(transport=httpx.MockTransport(lambda _: next(remaining)), base_url="http://fanfold")


def answer(**changed: Any) -> dict[str, Any]:
    return {
        "status": "succeeded",
        "total": 2,
        "successful": 2,
        "results": [
            {"index": 0, "success": True, "error": None},
            {"index": 1, "success": True, "error": None},
        ],
        "output": "要約\nSummary",
        "fold": {"calls": 0, "units": 0, "error": None},
        "usage": {"units": 2, "characters": 40, "quota_remaining": 998},
    } | changed


class TestProcess:
    @pytest.mark.parametrize("status", [429, 503])
    def test_comes_back_when_told_to(self, status: int) -> None:
        later = httpx.Response(status, headers={"Retry-After": "0"})
        with client_for([later, later, httpx.Response(200, json=answer())]) as client:
            assert process(client, "text").status_code == 200

    @pytest.mark.parametrize("status", [401, 402, 422, 500])
    def test_does_not_ask_again_where_that_cannot_help(self, status: int) -> None:
        with client_for([httpx.Response(status)]) as client:
            assert process(client, "text").status_code == status

    def test_folds_as_it_is_told(self) -> None:
        asked = []

        def answering(request: httpx.Request) -> httpx.Response:
            asked.append(json.loads(request.content)["fold"]["by"])
            return httpx.Response(200, json=answer())

        with httpx.Client(transport=httpx.MockTransport(answering), base_url="http://fanfold") as client:
            process(client, "text")
            process(client, "text", fold="reduce")
        assert asked == ["concat", "reduce"]

    def test_gives_up_in_the_end(self) -> None:
        with client_for([httpx.Response(429, headers={"Retry-After": "0"})] * 5) as client:
            assert process(client, "text").status_code == 429


class TestFiles:
    @pytest.mark.parametrize(
        "program",
        [
            [sys.executable, "examples/process.py"],
            [sys.executable, "examples/process.py", "--summary"],
            ["sh", "examples/process.sh"],
        ],
    )
    def test_what_cannot_be_read_is_told_in_one_line(self, program: list[str], tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b"caf\xe9")
        for name, reason in (("absent", "No such file or directory"), ("latin", "not UTF-8 text")):
            file = str(tmp_path / name)
            ended = subprocess.run(
                [*program, file],
                cwd=Path(__file__).parents[2],
                env=os.environ | {"FANFOLD_API_KEY": "ff_live_x", "FANFOLD_URL": "http://127.0.0.1:1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode != 0
            assert (ended.stdout, ended.stderr) == ("", f"{file} cannot be read: {reason}.\n")


class TestPrinting:
    def test_the_output_stands_alone_on_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_answer(answer())
        out, err = capsys.readouterr()
        assert out == "要約\nSummary\n"
        assert "succeeded: 2 of 2 chunks" in err
        assert "2 units for 40 characters, 998 units left" in err

    def test_a_failed_chunk_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        failed = {
            "index": 1,
            "success": False,
            "error": {"code": "timeout", "status": None, "detail": "Too slow."},
        }
        show_answer(answer(status="partial", successful=1, results=[failed]))
        assert "chunk 1: timeout: Too slow." in capsys.readouterr().err

    def test_a_failed_fold_says_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_answer(answer(status="partial", fold={"error": {"detail": "Too long."}}))
        assert "fold: Too long." in capsys.readouterr().err

    def test_a_problem_says_what_to_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        errors = [{"loc": ["body", "text"], "msg": "Field required", "type": "missing"}]
        show_problem(
            httpx.Response(422, json={"code": "validation", "detail": "See errors.", "errors": errors})
        )
        err = capsys.readouterr().err
        assert "422 validation: See errors." in err
        assert "body.text: Field required" in err

    def test_what_is_no_problem_is_shown_by_its_status(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_problem(httpx.Response(502, text="<html>"))
        assert capsys.readouterr().err.startswith("502")
