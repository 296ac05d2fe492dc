from fanfold.fanout.types import Status
from tests.fanout.engine import ScriptedTransport, fan_out, request, upstream


async def test_it_answers_the_chunks_text_and_sends_nothing():
    transport = ScriptedTransport()
    asked = request(300, upstream(kind="echo"))
    async with fan_out(transport) as fan:
        answer = await fan.run(asked)
    assert answer.status is Status.SUCCEEDED
    assert "".join(result.result for result in answer.results) == asked.text
    assert transport.requests == []
    assert answer.units == 300
