"""When a delivery that failed is tried again, and when a webhook that only fails is given up."""

import datetime as dt

from fanfold.core.values import value

_MINUTE, _HOUR = 60.0, 3600.0


@value(kw_only=True)
class DeliverySchedule:
    """Pauses in seconds after each failure, a tenth shorter or longer by chance; after the last the delivery is dead.

    The pauses are those that Standard Webhooks recommends ("Delivery attempts"): ten attempts over some three days. A
    webhook is disabled once nothing but failures came for `failing_days`; failures that are further apart than that
    are not counted together.
    """

    pauses_s: tuple[float, ...] = (
        5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR,
    )  # fmt: skip
    longest_asked_s: float = 24 * _HOUR
    failing_days: float = 5.0

    def pause_s(self, failures: int, *, jitter: float, asked_s: float | None) -> float | None:
        """Return the pause after so many failures, or None: it is dead. `jitter` is in 0..1.

        `asked_s` is the receiver's Retry-After, which makes a pause longer, up to a day.
        """
        if failures > len(self.pauses_s):
            return None
        pause_s = self.pauses_s[failures - 1] * (0.9 + 0.2 * jitter)
        return max(pause_s, min(asked_s or 0.0, self.longest_asked_s))

    def failing_since(
        self, since: dt.datetime | None, last: dt.datetime | None, now: dt.datetime
    ) -> dt.datetime:
        """Return when the failures began of which the one of `now` is the last."""
        is_apart = last is None or now - last > dt.timedelta(days=self.failing_days)
        return now if since is None or is_apart else since

    def is_given_up(self, since: dt.datetime, now: dt.datetime) -> bool:
        """Tell whether a webhook that has failed `since` then is disabled."""
        return now - since >= dt.timedelta(days=self.failing_days)
