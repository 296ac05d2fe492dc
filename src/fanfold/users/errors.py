"""What is wrong with what somebody sent of their account: where, and what to do, never what it was."""

from fanfold.core.errors import ValidationFailed


def not_valid(member: str, message: str, kind: str) -> ValidationFailed:
    """Return the 422 of one member of the body."""
    return ValidationFailed(message, errors=[{"loc": ["body", member], "msg": message, "type": kind}])


def token_over(what: str) -> ValidationFailed:
    """Return the 422 of a mailed token that is wrong, over, or of no use any more; `what` says how to get another."""
    return not_valid("token", f"The token is wrong, used or over. {what}", "token")


def wrong_password() -> ValidationFailed:
    """Return the 422 of a present password that is not the present one."""
    return not_valid("current_password", "This is not your present password.", "password")
