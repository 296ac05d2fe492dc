"""What every refusal must be."""

from collections.abc import Container

import httpx

from fanfold.core.openapi import PROBLEM
from tests.adversarial.json_schema import mismatches

MAX_PROBLEM_BYTES = 4096
_MEMBERS = frozenset({*PROBLEM["properties"], "needed", "remaining", "period_ends_at", "failed"})


def judge_problem(
    answer: httpx.Response, *, canary: str = "", status: Container[int] = range(400, 500)
) -> str:
    """Return what is wrong with a refusal, or an empty string."""
    if answer.status_code not in status:
        return f"status {answer.status_code}"
    if answer.headers["content-type"] != "application/problem+json":
        return f"content type {answer.headers['content-type']}"
    return ", ".join(_faults(answer, canary))


def _faults(answer: httpx.Response, canary: str) -> list[str]:
    body = answer.json()
    shown = "\n".join([answer.text, *answer.headers.values()])
    faults = {
        f"{len(answer.content)} bytes": len(answer.content) >= MAX_PROBLEM_BYTES,
        "the input is echoed": bool(canary) and canary in shown,
        "members that no problem has": bool(set(body) - _MEMBERS),
        f"says {body.get('status')}": body.get("status") != answer.status_code,
        f"type is {body.get('type')}": body.get("type") != f"/problems/{body.get('code')}",
        "no instance": not str(body.get("instance")).startswith("urn:uuid:"),
    }
    return [*mismatches(body, PROBLEM, {}), *(fault for fault, is_there in faults.items() if is_there)]
