"""An upstream whose circuit has opened, told once by whichever process takes the message out of the outbox."""

from fanfold.core.telemetry.logging import get_logger
from fanfold.outbox.types import Message

TOPIC = "upstream.circuit_opened"

_log = get_logger("fanfold.upstreams")


class CircuitWarnings:
    """The handler of `upstream.circuit_opened`. `told` counts; told twice after a crash, it counts twice."""

    def __init__(self) -> None:
        self.told = 0

    async def __call__(self, message: Message) -> None:
        """Log and count one opening; raises KeyError for a payload that is none."""
        payload = message.payload
        upstream_id, slug = payload["upstream_id"], payload["upstream"]
        self.told += 1
        _log.warning(
            "An upstream fails too often and is not asked for a while.",
            tenant_id=message.tenant_id,
            upstream_id=upstream_id,
            upstream=slug,
        )
