"""What is wrong with a request is said so that it can be mended without a look into the documentation."""

import pytest


async def refused(tenant, body, path="/v1/process"):
    answer = await tenant.http.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert "canary" not in answer.text
    (error,) = answer.json()["errors"]
    return error


async def test_an_unknown_member_is_answered_with_those_there_are(product):
    error = await refused(await product.tenant(), {"text": "a", "canary": 1})
    assert (error["loc"], error["type"]) == (["body", "*"], "extra_forbidden")
    assert error["msg"].startswith("Unknown member. Known here: api_urls, chunk_size, deadline_s, fold, ")


async def test_an_unknown_member_within_a_member_is_answered_with_those_of_that_one(product):
    error = await refused(await product.tenant(), {"text": "a", "split": {"canary": 1}})
    assert error["loc"] == ["body", "split", "*"]
    assert error["msg"] == "Unknown member. Known here: by, overlap, size."


async def test_an_unknown_member_of_an_upstream_is_answered_too(product):
    tenant = await product.tenant()
    body = {"slug": "a", "kind": "echo", "url": "https://example.com", "auth": {"canary": "x"}}
    assert (await refused(tenant, body, "/v1/upstreams"))[
        "msg"
    ] == "Unknown member. Known here: header, scheme."


async def test_a_body_that_is_no_object_is_told_so(product):
    assert (await refused(await product.tenant(), [1]))["msg"] == "Input should be an object"


@pytest.mark.parametrize("day", ["yesterday", "2026-11-22T10:00:00Z", "22.11.2026"])
async def test_a_day_that_is_none_is_answered_with_an_example(product, day):
    tenant = await product.tenant()
    answer = await tenant.http.get("/v1/usage", params={"from": day})
    assert [error["msg"] for error in answer.json()["errors"]] == ["Send a day, for example 2026-11-22"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "ff_live_without_bearer"}]
)
async def test_who_sends_no_key_is_told_how_to_send_one(product, headers):
    answer = await product.http().get("/v1/usage", headers=headers)
    assert answer.status_code == 401
    assert "Authorization: Bearer ff_live_" in answer.json()["detail"]
    assert "X-API-Key" in answer.json()["detail"]


async def test_the_list_of_problems_leads_to_each_page(product):
    page = await product.http().get("/problems")
    assert page.status_code == 200
    for code in ("quota-exhausted", "concurrency-exceeded", "validation"):
        assert f'href="problems/{code}"' in page.text


async def test_a_rule_of_ours_is_told_without_the_name_of_pythons_error(product):
    error = await refused(await product.tenant(), {"text": "a", "split": {"size": 2, "overlap": 2}})
    assert (error["type"], error["msg"]) == ("value_error", "overlap must be less than size")
