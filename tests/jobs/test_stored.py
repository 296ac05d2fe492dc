"""What a job's sealed texts hold comes back as it was."""

from dataclasses import replace
from uuid import UUID, uuid4

from asyncpg.pgproto import pgproto
from pydantic import SecretStr

from fanfold.fanout.types import FanOutRequest, FoldOptions, OnError, Price, Split, Upstream
from fanfold.jobs.mapping import encode_new_job
from fanfold.jobs.schemas import JobRead
from fanfold.jobs.stored import StoredChunk, StoredRequest, decode_chunks, encode_chunks
from tests.jobs.making import new_job


def _upstream(**members) -> Upstream:
    return Upstream(kind="openai", url="https://模型.example/v1", id=uuid4(), slug="m", **members)


def test_a_request_comes_back_without_text_and_credentials():
    folder = _upstream(price=Price(units_per_call=0, units_per_1k_output_tokens=7), options={"max_tokens": 9})
    upstream = _upstream(
        credential=SecretStr("sk-geheim"),
        price=Price(units_per_1k_chars=3),
        headers={"X-Team": "龙"},
        request_template={"input": ["{chunk}", None, 1.5]},
        is_shared=True,
        timeout_s=3.5,
        weight=4,
    )
    adhoc = Upstream(kind="http_json", url="https://a.example/")
    asked = FanOutRequest(
        text="秘密的文字",
        upstreams=(upstream, adhoc),
        split=Split(by="sentences", size=40, overlap=2),
        strategy="weighted",
        prompt="译 {chunk} 🐉",
        fold=FoldOptions(by="reduce", separator="；", upstream=folder, prompt="合 {chunk}"),
        on_error=OnError.FAIL,
        min_success=0.25,
        timeout_s=1.5,
        deadline_s=33.0,
        max_attempts=2,
        max_units=1000,
        owner="tenant",
        weight=5,
    )
    body = StoredRequest(fan_out=asked, by_address=True).encode()
    for secret in ("sk-geheim", asked.text):
        assert secret.encode() not in body
    found = StoredRequest.decode(body, owner="tenant")
    whole = replace(asked, text="", upstreams=(replace(upstream, credential=None), adhoc))
    assert found == StoredRequest(fan_out=whole, by_address=True)


def test_a_request_with_nothing_but_defaults_comes_back():
    asked = FanOutRequest(text="", upstreams=(_upstream(),), owner="t")
    assert StoredRequest.decode(StoredRequest(fan_out=asked).encode(), owner="t").fan_out == asked


def test_ids_as_the_database_driver_has_them_are_taken():
    upstream = Upstream(kind="echo", url="https://a.example/", id=pgproto.UUID(str(uuid4())))
    asked = FanOutRequest(text="", upstreams=(upstream,), owner="t")
    assert StoredRequest.decode(StoredRequest(fan_out=asked).encode(), owner="t").fan_out == asked


def test_chunks_come_back():
    chunks = [StoredChunk(7, 0, 2, "龙🐉"), StoredChunk(8, 2, 4, 'a"', "line-1")]
    assert decode_chunks(encode_chunks(chunks)) == chunks


def test_a_new_job_is_told_as_one_that_is_read():
    job = new_job(UUID(int=3), calls=7, metadata={"谁": "我 🐼"})
    told = encode_new_job(job)
    read = JobRead.model_validate_json(told)
    assert told == read.model_dump_json().encode()
    assert (read.id, read.counts.pending, read.metadata) == (job.id, 7, job.metadata)
    assert read.created_at.timestamp() * 1000 == job.id.int >> 80
