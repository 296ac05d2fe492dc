"""An answer in pieces is the same answer, with its length."""

import httpx
import pytest

from fanfold.core.piecewise import PiecewiseResponse


@pytest.mark.parametrize("pieces", [[], [b""], [b"[1,", b"2]"], ["你好".encode()[:4], "你好".encode()[4:]]])
async def test_the_pieces_are_sent_in_order_with_the_length_of_the_whole(pieces):
    transport = httpx.ASGITransport(app=PiecewiseResponse(pieces, media_type="application/json"))
    async with httpx.AsyncClient(transport=transport, base_url="http://fanfold.test") as client:
        answer = await client.get("/")
    assert answer.content == b"".join(pieces)
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/json"
