"""Every behaviour of a receiver × several events: each event is delivered at least once, or dead and in the log."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest

from fanfold.fanout.transports.registry import TRANSPORTS
from fanfold.webhooks.schedule import DeliverySchedule
from tests.fanout.transports.calling import FixedResolver
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import free_port
from tests.webhooks.desk import Desk, desk_of

EVENTS = 2
# Three days of ten attempts are walked in test_delivery.py.
SCHEDULE = DeliverySchedule(pauses_s=(5.0, 300.0, 86_400.0))
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a receiver does, and what is said of it in the end; `attempts` for each event."""

    path: str
    status: str = "delivered"
    code: int | None = 200
    attempts: int = 1
    says: str = ""
    url: str | None = None


def dead(path: str, code: int | None, says: str, url: str | None = None) -> Behaviour:
    return Behaviour(path, "dead", code, ATTEMPTS, says, url)


ZOO = {
    "200": Behaviour("ok"),
    "200 late": Behaviour("slow?ms=300"),
    "201 with 200 KB": Behaviour("created", code=201),
    "204": Behaviour("204", code=204),
    "200 and 3 MiB": Behaviour("huge"),
    "200 and an endless drip": Behaviour("drip?ms=300"),
    "200 and a gzip bomb": Behaviour("bomb"),
    "200 cut in its body": Behaviour("cut"),
    "200 longer than it says": Behaviour("short"),
    "200 shorter than it says": Behaviour("long"),
    "200 and gone": Behaviour("leave"),
    "200 of another type": Behaviour("wrong-type"),
    "301": dead("redirect?code=301", 301, "redirects (301)"),
    "302": dead("redirect?code=302", 302, "redirects (302)"),
    "307": dead("redirect?code=307", 307, "redirects (307)"),
    "400": dead("status?code=400", 400, "raw body"),
    "401": dead("status?code=401", 401, "signature"),
    "403": dead("status?code=403", 403, "does not allow"),
    "404": dead("nowhere", 404, "nothing at the path"),
    "405": dead("status?code=405", 405, "take POST"),
    "418": dead("status?code=418", 418, "Anything but 2xx"),
    "429 with Retry-After": dead("429?after=1", 429, "fewer events"),
    "429, then 200": Behaviour("429?after=3600&succeed=3", attempts=3),
    "500": dead("500", 500, "its own side (500)"),
    "503": dead("503", 503, "its own side (503)"),
    "503, then 200": Behaviour("flaky?fail=1", attempts=2),
    "200 at the last try": Behaviour("flaky?fail=3", attempts=4),
    "reset": dead("reset", None, "before it answered"),
    "hangs": dead("hang", None, "did not answer within 4 s"),
    "hangs in its head": dead("half-a-head", None, "did not answer within 4 s"),
    "a head that drips": dead("head-drip", None, "did not answer within 4 s"),
    "not HTTP": dead("noise", None, "does not speak HTTP"),
    "no TLS": dead("ok", None, "no TLS at all", url="https://127.0.0.1:{plain}/ok"),
    "refuses connections": dead("ok", None, "Nothing takes connections", url="http://127.0.0.1:{closed}/"),
    "no such name": dead("ok", None, "has no address", url="http://nowhere.test:{port}/"),
}


# No valid HTTP: the two transports read it differently.
BROKEN = {"200 longer than it says"}


class _NoNames(FixedResolver):
    """Knows no name but the receiver's number."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        return [host] if host == "127.0.0.1" else await super().resolve(host, port)


@pytest.mark.parametrize("kind", sorted(TRANSPORTS))
async def test_each_event_is_delivered_at_least_once_or_dead(
    own_database: TestDatabase, kind: str, figures: Figures, *, full: bool
):
    sent = lost = 0
    events = 4 * EVENTS if full else EVENTS
    plain = await asyncio.start_server(_without_tls, "127.0.0.1", 0)
    async with plain, desk_of(own_database, kind=kind, resolver=_NoNames(), timeout_s=4.0) as desk:
        ports = {
            "plain": plain.sockets[0].getsockname()[1],
            "port": desk.receiver.port,
            "closed": free_port(),
        }
        homes = {name: await _home(desk, behaviour, ports) for name, behaviour in ZOO.items()}
        told = {name: {str(await desk.tell(homes[name])) for _ in range(events)} for name in ZOO}
        await _walk_all(desk, events)
        for name, behaviour in ZOO.items():
            rows = await desk.deliveries(homes[name])
            assert {str(row.event_id) for row in rows} == told[name]
            sent += len(rows)
            lost += sum(row.status == "pending" for row in rows)
            for row in rows:
                if name in BROKEN and row.status == "dead":  # its head was lost with what should not be there
                    continue
                assert (row.status, row.status_code) == (behaviour.status, behaviour.code), (name, row.error)
                assert row.attempts >= behaviour.attempts
                assert behaviour.says in (row.error or ""), name
        taken = {each.event_id for each in desk.receiver.received}
        delivered = {name for name, each in ZOO.items() if each.status == "delivered"}
        rows = [row for name in ZOO for row in await desk.deliveries(homes[name])]
        well = sum(row.status == "delivered" for row in rows)
        assert taken >= set.union(*(told[name] for name in delivered))
        assert len({each.event_id for each in desk.receiver.received if each.path == "ok"}) == events
        assert desk.receiver.forged == 0
        duplicates = len(desk.receiver.received) - len(taken)
        figures(
            f"webhooks, receiver zoo, {kind}: {len(ZOO)} behaviours × {events} events, {sent} deliveries, "
            f"{well} delivered, {sent - well} dead, lost {lost}; "
            f"{len(desk.receiver.received)} requests, forged {desk.receiver.forged}, repeated {duplicates}"
        )


async def _without_tls(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a TLS greeting as servers of plain HTTP do."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def _home(desk: Desk, behaviour: Behaviour, ports: Mapping[str, int]) -> UUID:
    tenant = await desk.tenant()
    url = behaviour.url and behaviour.url.format(**ports)
    await desk.webhook(tenant, behaviour.path, url=url)
    return tenant


async def _walk_all(desk: Desk, events: int) -> None:
    """Let four days go by, an hour at a time at first, until nothing waits."""
    deliverer = desk.deliverer(SCHEDULE, webhook_most=events, failing_most=64)
    for _ in range(400):
        await desk.deliver(deliverer)
        async with desk.superuser() as connection:
            due = await connection.fetchval(
                "select min(due_at) from fanfold.webhook_deliveries where status = 'pending'"
            )
        if due is None:
            return
        desk.clock.ahead += max(due - desk.clock(), due - due)
        await asyncio.sleep(0)
    raise AssertionError("Something waits for ever.")


async def test_one_that_is_gone_is_disabled_at_once(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "status?code=410")
    for _ in range(EVENTS):
        await desk.tell(tenant)
    await desk.deliver(desk.deliverer(webhook_most=1))
    rows = await desk.deliveries(tenant)
    assert {row.status for row in rows} == {"dead"}
    assert sorted(row.attempts for row in rows) == [0, 1]
    assert {row.error for row in rows if row.attempts == 0} == {
        "The webhook was disabled before this was delivered. Enable it, then replay the delivery."
    }
    seen = await desk.seen(webhook)
    assert (seen.enabled, seen.disabled_reason) == (False, "gone")
    await desk.tell(tenant)
    assert len(await desk.deliveries(tenant)) == EVENTS


async def test_what_a_receiver_says_is_kept_as_text_up_to_4_kib(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "words")
    await desk.tell(tenant)
    await desk.deliver()
    answer = (await desk.delivery(tenant)).answer
    assert answer is not None
    assert answer.startswith("x\N{REPLACEMENT CHARACTER}出了问题。出")
    assert set(answer[2:]) == set("出了问题。")
    assert 4_000 < len(answer.replace("\N{REPLACEMENT CHARACTER}", "").encode()) <= 4_096


async def test_a_compressed_answer_is_not_shown(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "bomb")
    await desk.tell(tenant)
    await desk.deliver()
    row = await desk.delivery(tenant)
    assert (row.status, row.answer) == ("delivered", None)
