"""Forms of OAuth's endpoints: small, of one type, no parameter twice (RFC 6749, section 3.2)."""

import pytest

from fanfold.oauth.route import FORM, MAX_FIELDS, MAX_FORM_BYTES
from tests.fixtures.app import PASSWORD, Product

FORMS = {
    "twice": (FORM, "username=a%40example.com&username=b%40example.com&password=x"),
    "twice, one empty": (FORM, "refresh_token=x&refresh_token=&grant_type=refresh_token"),
    "twice, once escaped": (FORM, "user%6eame=a%40example.com&username=b%40example.com"),
    "too long": (FORM, "password=" + "x" * MAX_FORM_BYTES),
    "too many": (FORM, "&".join(f"n{number}=x" for number in range(MAX_FIELDS + 1))),
    "of another type": ("application/json", "{}"),
    "not ASCII": (FORM, "password=密码"),
}


@pytest.mark.parametrize("path", ["token", "revoke", "introspect"])
async def test_what_is_no_such_form_is_an_invalid_request(product: Product, path: str):
    person = await product.signed_in()
    for name, (kind, content) in FORMS.items():
        answer = await person.http.post(
            f"/v1/auth/{path}", content=content.encode(), headers={"Content-Type": kind}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), name
        described = answer.json()["error_description"]
        assert any(word in described for word in ("twice", "over", "too many", FORM)), (name, described)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("left_out", ["otp", "tenant", "scope", "grant_type", "client_id"])
async def test_a_parameter_without_a_value_counts_as_left_out(product: Product, left_out: str):
    person = await product.signed_in(await product.tenant())
    await person.sign_in(**{left_out: ""})
    assert (await person.http.get("/v1/tenant")).status_code == 200


@pytest.mark.parametrize("form", [{"grant_type": "refresh_token", "refresh_token": ""},
                                  {"username": "", "password": PASSWORD}])  # fmt: skip
async def test_what_is_needed_needs_a_value(product: Product, form: dict[str, str]):
    refused = await product.stranger().post("/v1/auth/token", data=form)
    assert refused.status_code == 400
    empty = await (await product.signed_in()).http.post("/v1/auth/revoke", data={"token": ""})
    assert (empty.status_code, empty.json()["error"]) == (400, "invalid_request")
