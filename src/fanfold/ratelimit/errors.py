"""What can go wrong with a rate limit store."""


class StoreUnavailable(Exception):
    """The store could not decide in time; the middleware then lets the request pass, and counts it."""
