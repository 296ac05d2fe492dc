"""Send a long text through Fanfold and print the folded answer, the report and what it cost.

    export FANFOLD_API_KEY=ff_live_...            # printed by ./scripts/run
    python examples/process.py [FILE]
    python examples/process.py --summary [FILE]   # the answers are folded by the upstream itself, into one

FANFOLD_URL is the server, http://127.0.0.1:8000 unless set. Needs httpx and nothing else.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx

SAMPLE = Path(__file__).with_name("long-text.txt")
ATTEMPTS = 5
LONGEST_WAIT_S = 60


def process(client: httpx.Client, text: str, *, fold: str = "concat") -> httpx.Response:
    """Ask for the text to be split, fanned out and folded; wait and ask again when told to."""
    request = {
        "text": text,
        "split": {"by": "paragraphs", "size": 900},
        "fold": {"by": fold, "separator": "\n"},
    }
    response = client.post("/v1/process", json=request)
    for _ in range(ATTEMPTS - 1):
        # 429 and 503 say when to come back. 402, the quota, does not: waiting does not help there.
        if response.status_code not in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}:
            break
        time.sleep(min(int(response.headers.get("Retry-After", "1")), LONGEST_WAIT_S))
        response = client.post("/v1/process", json=request)
    return response


def show_problem(response: httpx.Response) -> None:
    """Print why the server refused; every refusal is an RFC 9457 problem."""
    try:
        problem: dict[str, Any] = response.json()
    except ValueError:
        problem = {}
    print(f"{response.status_code} {problem.get('code', '')}: {problem.get('detail', '')}", file=sys.stderr)
    for error in problem.get("errors", []):
        print(f"  {'.'.join(map(str, error['loc']))}: {error['msg']}", file=sys.stderr)


def show_answer(answer: dict[str, Any]) -> None:
    """Print the output, then the chunks that failed, then the usage."""
    print(answer["output"])
    print(f"\n{answer['status']}: {answer['successful']} of {answer['total']} chunks", file=sys.stderr)
    for result in answer["results"]:
        if not result["success"]:
            error = result["error"]
            print(f"  chunk {result['index']}: {error['code']}: {error['detail']}", file=sys.stderr)
    if answer["fold"]["error"]:
        print(f"  fold: {answer['fold']['error']['detail']}", file=sys.stderr)
    usage = answer["usage"]
    print(
        f"{usage['units']} units for {usage['characters']} characters, {usage['quota_remaining']} units left",
        file=sys.stderr,
    )


def main() -> int:
    """Process the file that is named, or the sample; 0 when everything succeeded."""
    key = os.environ.get("FANFOLD_API_KEY")
    if not key:
        print("Set FANFOLD_API_KEY to an API key; ./scripts/run prints one.", file=sys.stderr)
        return 2
    names = [argument for argument in sys.argv[1:] if argument != "--summary"]
    fold = "reduce" if len(names) < len(sys.argv[1:]) else "concat"
    file = Path(names[0] if names else SAMPLE)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        print(f"{file} cannot be read: {reason}.", file=sys.stderr)
        return 2
    with httpx.Client(
        base_url=os.environ.get("FANFOLD_URL", "http://127.0.0.1:8000"),
        headers={"Authorization": f"Bearer {key}"},
        timeout=httpx.Timeout(10, read=150),  # the default deadline of a request is 120 s
    ) as client:
        try:
            response = process(client, text, fold=fold)
        except httpx.TransportError as error:
            print(
                f"{client.base_url} did not answer ({type(error).__name__}). Is it running?", file=sys.stderr
            )
            return 1
    if response.status_code != httpx.codes.OK:
        show_problem(response)
        return 1
    answer = response.json()
    show_answer(answer)
    return 0 if answer["status"] == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
