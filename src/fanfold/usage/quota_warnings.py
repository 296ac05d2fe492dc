"""A quota that is nearly used, told to those who watch: what the ledger's flush wrote into the outbox."""

from fanfold.core.telemetry.logging import get_logger
from fanfold.outbox.types import Message

TOPIC = "quota.warning"
LEVELS = (80, 100)

_log = get_logger("fanfold.usage")


class QuotaWarnings:
    """The handler of `quota.warning`. `told` counts by level, in percent; told twice after a crash, it counts twice."""

    def __init__(self) -> None:
        self.told = dict.fromkeys(LEVELS, 0)

    async def __call__(self, message: Message) -> None:
        """Log and count one warning; raises KeyError for a payload that is none."""
        payload = message.payload
        self.told[payload["level"]] += 1
        _log.warning(
            "A quota is nearly used.",
            tenant_id=message.tenant_id,
            percent=payload["level"],
            period_start=payload["period_start"],
            holder=payload["holder"],
            api_key_id=payload["api_key_id"],
        )
