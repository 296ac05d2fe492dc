"""Bad bodies against every route that takes one: 4xx, a small problem that repeats nothing, never a 5xx."""

from collections import Counter

import pytest

from tests.adversarial.bodies import attacks_on
from tests.adversarial.hostile_values import CANARY
from tests.adversarial.judging import judge_problem
from tests.adversarial.raw import send_raw
from tests.adversarial.routes import BY_CODE, Party, body_routes
from tests.adversarial.shapes import shape_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.proof]


async def test_a_valid_body_is_taken_so_that_what_is_refused_is_refused_for_itself(arena):
    party = await Party.invite(arena)
    document = arena.app.openapi()
    for route in body_routes(arena.app):
        if (route.method, route.path) in BY_CODE:
            continue
        body = shape_of(document, route.method, route.path).valid() | party.known.get(route.path, {})
        answer = await party.client(route).request(route.method, party.url(route), json=body)
        assert answer.status_code in {200, 201, 202, 204}, f"{route}: {answer.text}"


async def test_every_bad_body_is_refused_on_every_route(arena, full, capsys):
    party = await Party.invite(arena)
    document = arena.app.openapi()
    routes = body_routes(arena.app)
    assert len(routes) >= 10
    ideas: set[str] = set()
    statuses: Counter[int] = Counter()
    wrong = []
    for number, route in enumerate(routes):
        only = slice(None) if full else slice(number % 4, None, 4)
        shape = shape_of(document, route.method, route.path)
        operation = document["paths"][route.path][route.method.lower()]
        taken = set(operation["requestBody"]["content"]) - {"application/json"}
        party, url = await party.rested(arena), party.url(route)
        key = ("authorization", party.client(route).headers["authorization"].encode())
        for attack in attacks_on(shape, only=only):
            headers = [(name, value.encode()) for name, value in attack.headers.items()]
            answer = await send_raw(arena.app, route.method, url, [key, *headers], content=attack.content)
            ideas.add(attack.idea)
            statuses[answer.status_code] += 1
            # Where another media type is taken, a body of it is bad for what is in it.
            is_taken = attack.headers.get("content-type", "").partition(";")[0] in taken
            allowed = range(400, 500) if is_taken else attack.statuses
            if fault := judge_problem(answer, canary=CANARY, status=allowed):
                wrong.append(
                    f"{route}: {attack.idea}: {attack.content[:100]!r}: {fault}: {answer.text[:200]}"
                )
    total = statuses.total()
    refused = sum(count for status, count in statuses.items() if 400 <= status < 500)
    broken = sum(count for status, count in statuses.items() if status >= 500)
    with capsys.disabled():
        print(
            f"\nbad bodies: {len(ideas)} ideas x {len(routes)} routes = {total} requests, {refused} 4xx, {broken} 5xx"
        )
    assert wrong == [], "\n".join([f"{len(wrong)} of {total}", *wrong[:200]])
    assert len(ideas) >= 60
