"""What the kinds that speak JSON over HTTP share: the request they send and the checks of the answer they read."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from fanfold.fanout.adapters.base import Defaults
from fanfold.fanout.errors import CallFailed, InvalidPlan, Phase
from fanfold.fanout.json_text import MAX_CONTAINERS, MAX_DEPTH, containers, is_writable
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import Cause, ErrorCode, Upstream

_JSON_TYPE = re.compile(r"(application|text)/([\w.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_STREAM_TYPE = re.compile(r"(text/event-stream|application/x-ndjson)\s*(;|$)", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_MAX_TOKENS = 2**31
_MAX_TOKENS_NAMES = ("max_tokens", "max_completion_tokens")


def check_http(upstream: Upstream, defaults: Defaults) -> None:
    """Refuse an address or headers that cannot be sent as they are. Raises `InvalidPlan`.

    What the address may be, the guard says where it is registered and dialled; framing headers, the transport.
    """
    try:
        parts = urlsplit(upstream.url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or any(letter.isspace() for letter in upstream.url):
        raise InvalidPlan("url must be a whole http or https address without spaces.")
    for name, value in _headers(upstream, defaults).items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidPlan("headers, auth and credential must be printable ASCII, names without spaces.")


def post(
    upstream: Upstream, url: str, content: bytes, *, defaults: Defaults, accept: str = "application/json"
) -> UpstreamRequest:
    """Return a POST of JSON."""
    first = (("accept", accept), ("content-type", "application/json"))
    headers = upstream.made.get(first) or _head(upstream, defaults, first)
    return UpstreamRequest("POST", url, headers, content)


def written(body: Any) -> bytes:
    """Return a body as JSON: a copy, since what orjson makes holds 4 KB, however short."""
    return bytes(memoryview(orjson.dumps(body)))


def get(upstream: Upstream, url: str, *, defaults: Defaults) -> UpstreamRequest:
    """Return a GET."""
    first = (("accept", "application/json"),)
    headers = upstream.made.get(first) or _head(upstream, defaults, first)
    return UpstreamRequest("GET", url, headers, None)


def _head(upstream: Upstream, defaults: Defaults, first: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Make of `first` and the upstream's own headers what is the same for all its calls."""
    made = upstream.made[first] = {**dict(first), **_headers(upstream, defaults)}
    return made


def _headers(upstream: Upstream, defaults: Defaults) -> dict[str, str]:
    own = {**defaults.headers, **{name.lower(): value for name, value in upstream.headers.items()}}
    if upstream.credential is None:
        return own
    secret = upstream.credential.get_secret_value()
    header, scheme = upstream.auth_header, upstream.auth_scheme
    if header is None:
        header, scheme = defaults.auth_header, defaults.auth_scheme
    return own | {header.lower(): f"{scheme} {secret}" if scheme else secret}


def read_json(response: UpstreamResponse) -> Any:
    """Return the answer's JSON. Raises `CallFailed`: not JSON, deeper than 64, or over 50,000 lists and objects."""
    content_type = response.headers.get("content-type", "application/json")
    if content_type != "application/json":
        _check_type(content_type.strip(), response.status)
    value = loads(response.body, response.status, what="answer")
    body = response.body
    if len(body) > MAX_DEPTH and containers(body) > MAX_DEPTH and not is_writable(value):
        raise invalid_answer(f"The upstream's answer is nested deeper than {MAX_DEPTH}.", response.status)
    return value


def _check_type(content_type: str, status: int) -> None:
    if _STREAM_TYPE.match(content_type):
        raise invalid_answer("The upstream answered a stream, which it was not asked for.", status)
    if not _JSON_TYPE.match(content_type):
        raise invalid_answer("The upstream's answer must be application/json.", status, Cause.NOT_JSON)


def loads(text: bytes, status: int, *, what: str) -> Any:
    """Return the JSON of `what` an upstream sent. Raises `CallFailed`: not JSON, or over 50,000 lists and objects."""
    if len(text) > MAX_CONTAINERS and containers(text) > MAX_CONTAINERS:
        raise too_large(f"The upstream's {what} holds too many lists and objects.")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid_answer(f"The upstream's {what} is not JSON.", status, Cause.NOT_JSON) from None


def reported_tokens(value: Any) -> tuple[int | None, int | None]:
    """Return the input and output tokens of an answer's `usage`, in OpenAI's names or Anthropic's, None each."""
    usage = value.get("usage") if type(value) is dict else None
    if type(usage) is not dict:
        return None, None
    input_tokens = count(usage.get("prompt_tokens", usage.get("input_tokens")))
    return input_tokens, count(usage.get("completion_tokens", usage.get("output_tokens")))


def count(value: Any) -> int | None:
    """Return a number of tokens as it was reported, or None for what is none."""
    return value if type(value) is int and 0 <= value < _MAX_TOKENS else None


def texts(rendered: Any) -> list[str]:
    """Return the strings of a rendered template, wherever they stand in it."""
    match rendered:
        case str():
            return [rendered]
        case dict():
            return [text for member in rendered.values() for text in texts(member)]
        case list():
            return [text for element in rendered for text in texts(element)]
        case _:
            return []


def max_tokens(upstream: Upstream, *names: str) -> int | None:
    """Return the output tokens that `options` allow one answer, or None where they allow any.

    `names` are the options that may say so, the first one given wins; OpenAI's two without them.
    """
    given = [upstream.options[name] for name in names or _MAX_TOKENS_NAMES if name in upstream.options]
    limit = given[0] if given else None
    return limit if type(limit) is int and 0 < limit < _MAX_TOKENS else None


def invalid_answer(detail: str, status: int, cause: Cause | None = None) -> CallFailed:
    """Return the failure of an answer that is not what its kind promises."""
    return CallFailed(ErrorCode.INVALID_ANSWER, detail, phase=Phase.ANSWERED, status=status, cause=cause)


def too_large(detail: str) -> CallFailed:
    """Return the failure of an answer that is more than is taken."""
    return CallFailed(ErrorCode.TOO_LARGE, detail, phase=Phase.ANSWERED)
