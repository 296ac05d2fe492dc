import asyncio
import logging
import os
import select
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from fanfold.core.config import Settings, TelemetrySettings
from fanfold.core.errors import NotReady
from fanfold.core.telemetry.log_fields import mask
from fanfold.core.telemetry.log_writer import GATHER_S
from fanfold.core.telemetry.logging import Logger, _QueueHandler, configure_logging, get_logger

KEY = "ff_live_0AbCdEf12345_Zk3vQ9wXyT7uRsPq_1a2B3c"
TEXT = "机密文本：合同金额为三百万元。 سري للغاية 👩‍👩‍👧 秘密の文章"


def log() -> Logger:
    return get_logger("fanfold.test")


class TestLine:
    def test_is_json_with_time_level_logger_and_event(self, written: Any) -> None:
        out = written()
        log().warning(
            "A thing happened.", status=503, duration_ms=1.5, tenant_id=UUID(int=7), failed=["database"]
        )
        (line,) = out.lines()
        assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
        assert line == {
            "level": "warning",
            "logger": "fanfold.test",
            "event": "A thing happened.",
            "status": 503,
            "duration_ms": 1.5,
            "tenant_id": "00000000-0000-0000-0000-000000000007",
            "failed": ["database"],
        }

    def test_levels_below_the_setting_are_not_written(self, written: Any) -> None:
        out = written(log_level="WARNING")
        log().info("quiet")
        log().warning("loud")
        assert [line["event"] for line in out.lines()] == ["loud"]

    def test_unknown_fields_are_left_out_by_name(self, written: Any) -> None:
        out = written()
        log().info("x", text=TEXT, password="hunter2 hunter2", status=1)
        (line,) = out.lines()
        assert line["left_out"] == ["password", "text"]
        assert line["status"] == 1

    def test_a_text_in_a_permitted_field_is_not_written_in_any_script(self, written: Any) -> None:
        out = written()
        log().info("x", reason=TEXT, kind="two words", code="合同", slug="plain-slug")
        (line,) = out.lines()
        assert line["reason"] == f"<text of {len(TEXT)} characters>"
        assert line["kind"] == "<text of 9 characters>"
        assert line["code"] == "<text of 2 characters>"
        assert line["slug"] == "plain-slug"

    def test_objects_and_secret_types_are_not_opened(self, written: Any) -> None:
        out = written()
        log().info("x", kind={"authorization": "hunter2hunter2"}, upstream=SecretStr("hunter2hunter2"))
        (line,) = out.lines()
        assert (line["kind"], line["upstream"]) == ("<dict>", "**********")

    def test_control_characters_cannot_forge_a_line_or_drive_a_terminal(self, written: Any) -> None:
        out = written()
        evil = 'a\r\n{"level":"error"}\x1b[2J\x9b2J\u2028\u202eb\x00\x7f'
        log().info(evil)
        logging.getLogger("uvicorn.error").warning(evil)
        raw = out.raw()
        assert raw.count("\n") == 2
        assert len(raw.splitlines()) == 2
        assert not set(raw) & set("\r\x1b\x9b\u2028\u202e\x00")

    def test_a_lone_surrogate_or_a_huge_integer_does_not_lose_the_line(self, written: Any) -> None:
        out = written()
        log().info("\ud800", units=10**30)
        (line,) = out.lines()
        assert line["units"] == 10**30


class TestMask:
    @pytest.mark.parametrize(
        "secret",
        [
            KEY,
            "Bearer abc.def-123",
            "bearer tokentoken",
            "Basic dXNlcjpwYXNz",
            "sk-proj-abcdefghijkl",
            "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl",
            "postgresql://fanfold:hunter2@db:5432/x",
        ],
    )
    def test_the_shape_of_a_secret_is_masked_wherever_it_stands(self, written: Any, secret: str) -> None:
        out = written()
        log().info(f"said {secret} loud")
        log().info("x", host=secret)
        logging.getLogger("uvicorn.error").error("bad %s", secret)
        raw = out.raw()
        assert secret not in raw
        assert secret.rpartition(" ")[2] not in raw
        assert raw.count("***") + raw.count("<text of") >= 3

    def test_leaves_the_rest_as_it_is(self) -> None:
        line = '{"event":"Uvicorn running on http://127.0.0.1:8000","route":"/v1/x","名":"é"}\n'.encode()
        assert mask(line) == line


class TestException:
    def test_tells_type_place_and_cause_without_words_or_local_values(self, written: Any) -> None:
        out = written()
        try:
            try:
                local = KEY
                int(local + TEXT)
            except ValueError as error:
                raise RuntimeError(TEXT) from error
        except RuntimeError as error:
            log().error("It failed.", exc_info=error)
        raw = out.raw()
        assert KEY not in raw
        assert "机密" not in raw
        (line,) = out.lines()
        assert line["exception"]["type"] == "builtins.RuntimeError"
        assert "test_tells_type_place" in line["exception"]["frames"][0]
        assert line["exception"]["cause"]["type"] == "builtins.ValueError"
        assert "message" not in line["exception"]

    def test_keeps_the_words_of_our_own_errors_and_of_the_operating_system(self, written: Any) -> None:
        out = written()
        log().error("a", exc_info=NotReady("The database cannot be reached."))
        log().error("b", exc_info=ConnectionRefusedError(111, "Connection refused", "/secret/path"))
        own, system = out.lines()
        assert own["exception"]["message"] == "The database cannot be reached."
        assert system["exception"]["message"] == "Connection refused"

    def test_groups_are_opened(self, written: Any) -> None:
        out = written()
        log().error("a", exc_info=ExceptionGroup(TEXT, [KeyError(KEY), OSError(5, "Input/output error")]))
        (line,) = out.lines()
        assert [each["type"] for each in line["exception"]["exceptions"]] == [
            "builtins.KeyError",
            "builtins.OSError",
        ]


class TestStandardLoggers:
    def test_a_librarys_arguments_are_left_out_but_for_numbers(self, written: Any) -> None:
        out = written()
        logging.getLogger("sqlalchemy.pool").warning("Connection %r broke after %d uses", KEY, 7)
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task %s>", KEY)
        pool, loop = out.lines()
        assert pool["event"] == "Connection '…' broke after 7 uses"
        assert loop["event"] == "Task exception was never retrieved"

    @pytest.mark.parametrize("name", ["uvicorn.error", "fanfold.x", "aiohttp.client"])
    def test_arguments_that_do_not_fit_fail_nobody(self, written: Any, name: str) -> None:
        out = written()
        (ours,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, _QueueHandler)]
        ours.handle(logging.makeLogRecord({"name": name, "msg": "%d and %d", "args": ("x",)}))
        assert [line["event"] for line in out.lines()] == ["%d and %d"]

    def test_our_own_modules_may_use_them_with_words_and_extra_fields(self, written: Any) -> None:
        out = written()
        logging.getLogger("fanfold.fanout").error(
            "Adapter %s raised %s.", "openai", TEXT, extra={"text": TEXT, "code": "x"}
        )
        (line,) = out.lines()
        assert line["event"] == f"Adapter openai raised <text of {len(TEXT)} characters>."
        assert (line["code"], line["left_out"]) == ("x", ["text"])

    def test_statements_and_their_parameters_are_not_written_even_at_debug(self, written: Any) -> None:
        out = written(log_level="DEBUG")
        logging.getLogger("sqlalchemy.engine.Engine").info("[generated in 0.1s] (%r)", KEY)
        assert out.lines() == []

    def test_uvicorns_access_log_is_off_and_its_websocket_line_with_the_query_is_dropped(
        self, written
    ) -> None:
        out = written()
        assert not logging.getLogger("uvicorn.access").hasHandlers()
        logging.getLogger("uvicorn.error").info(
            '%s - "WebSocket %s" [accepted]', "1.2.3.4:5", "/ws?token=abc"
        )
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 42)
        assert [line["event"] for line in out.lines()] == ["Started server process [42]"]

    def test_uvicorns_own_handlers_are_taken_off(self, written: Any) -> None:
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler())
        out = written()
        logging.getLogger("uvicorn.error").warning("once")
        assert len(out.lines()) == 1
        assert logging.getLogger("uvicorn").handlers == []


class TestUnconfigured:
    def test_our_loggers_hand_on_to_the_standard_library_cleaned(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        try:
            int(KEY)
        except ValueError as error:
            log().error("It failed.", exc_info=error, text=TEXT, code="x")
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("fanfold.test", "ERROR")
        assert '"event":"It failed."' in record.getMessage()
        assert "builtins.ValueError" in record.getMessage()
        assert KEY not in caplog.text
        assert TEXT not in caplog.text


async def _say(lines: int) -> int:
    for turn in range(lines):
        log().info("x" * 200, count=turn)
        if turn % 50 == 0:
            await asyncio.sleep(0.001)  # the writer gets its chance to fill the pipe
    return lines


async def _stuff(write: int) -> int:
    """Write lines until the pipe is full, the writer stands before it, and as many wait as may; tells how many."""
    said = 0
    while select.select([], [write], [], 0)[1]:
        said += await _say(100)
        await asyncio.sleep(GATHER_S)
    for _ in range(2):  # what it takes once more it cannot write
        await asyncio.sleep(5 * GATHER_S)
        said += await _say(1_000)
    return said


class TestQueue:
    async def test_a_pipe_that_nobody_reads_blocks_nothing_and_every_lost_line_is_counted(self) -> None:
        read, write = os.pipe()
        logs = configure_logging(Settings(telemetry=TelemetrySettings(log_queue=100)), descriptor=write)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async with asyncio.timeout(120):
            said = await _say(5_000) + await _stuff(write)
        ticking.cancel()
        assert ticks >= 100
        dropped = logs.dropped
        assert dropped > 3_000
        logs.close(timeout_s=0.05)  # its end is bounded too
        assert logs.dropped > dropped
        lines = b""
        while lines.count(b"\n") + logs.dropped < said and select.select([read], [], [], 30)[0]:
            lines += os.read(read, 65536)
        assert not select.select([read], [], [], 0.1)[0]
        assert lines.count(b"\n") + logs.dropped == said
        os.close(write)
        os.close(read)

    async def test_a_reader_that_went_away_is_counted_and_harms_nobody(self) -> None:
        read, write = os.pipe()
        logs = configure_logging(Settings(), descriptor=write)
        os.close(read)
        log().info("x")
        await asyncio.sleep(0.1)
        logs.close()
        assert logs.dropped == 1
        os.close(write)

    def test_close_writes_what_waits(self, written: Any) -> None:
        out = written()
        for turn in range(3_000):
            log().info("x", count=turn)
        assert [line["count"] for line in out.lines()] == list(range(3_000))
        assert out.logs.dropped == 0

    def test_lines_after_close_go_nowhere_and_harm_nobody(self, written: Any) -> None:
        out = written()
        out.close()
        log().info("late")
        logging.getLogger("uvicorn.error").info("late")
        assert out.raw() == ""

    def test_closing_gives_back_to_the_logging_before(self, written: Any) -> None:
        outer = written()
        inner = written(log_level="ERROR")
        log().error("a")
        inner.close()
        log().info("b")
        logging.getLogger("uvicorn.error").error("c")
        assert [line["event"] for line in inner.lines()] == ["a"]
        assert [line["event"] for line in outer.lines()] == ["b", "c"]

    def test_configuring_twice_writes_each_line_once(self, written: Any) -> None:
        first, second = written(), written()
        logging.getLogger("uvicorn.error").error("a")
        log().error("b")
        assert [line["event"] for line in second.lines()] == ["a", "b"]
        assert first.lines() == []
