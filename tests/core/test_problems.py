"""One shape for every error, a page for every code."""

import re
from uuid import UUID

import pytest

from fanfold.core.errors import FanfoldError


def every_error(error=FanfoldError):
    return [error, *(deep for child in error.__subclasses__() for deep in every_error(child))]


ERRORS = {error.code: error for error in every_error()}


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_every_problem_has_a_page_that_says_what_to_do(product, code):
    answer = await product.http().get(f"/problems/{code}")
    assert answer.status_code == 200
    assert str(ERRORS[code].status) in answer.text
    assert "What to do" in answer.text
    assert len(ERRORS[code].advice) > 20


async def test_an_unknown_page_is_a_problem_itself(product):
    answer = await product.http().get("/problems/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_problem_names_the_request_and_nothing_else(product):
    answer = await product.http().get("/nothing", headers={"X-Request-ID": "my-id.1"})
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "code"}
    assert problem["type"] == "/problems/not-found"
    assert problem["instance"].startswith("urn:uuid:")
    assert UUID(problem["instance"].removeprefix("urn:uuid:")).version == 7
    assert answer.headers["x-request-id"] == "my-id.1"
    assert re.fullmatch(r"\d+\.\d{4}", answer.headers["x-process-time"])


async def test_a_validation_problem_tells_where_and_why_but_not_what_was_sent(product):
    tenant = await product.tenant()
    body = {"text": "x", "split": {"size": "canary-value"}, "canary-member": 1, "options": {"canary-key": 1}}
    answer = await tenant.http.post("/v1/process", json=body)
    assert answer.status_code == 422
    assert "canary" not in answer.text
    assert ["body", "split", "size"] in [error["loc"] for error in answer.json()["errors"]]
    assert ["body", "*"] in [error["loc"] for error in answer.json()["errors"]]


async def test_a_fault_of_ours_shows_the_request_id_and_nothing_else(own_product):
    tenant, state = await own_product.tenant(), own_product.app.state
    processing, state.processing = state.processing, None
    answer = await tenant.http.post("/v1/process", json={"text": "canary"})
    state.processing = processing
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "canary" not in answer.text
    assert "Error" not in answer.json()["detail"]


async def test_a_method_that_a_path_does_not_take_is_told_those_it_does(product):
    answer = await product.http().put("/ping")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
