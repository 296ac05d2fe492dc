"""Any HTTP API that takes and answers JSON: `{"text": chunk}`, or whatever its template says."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson

from fanfold.core.lazily import on_call
from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.adapters.base import AdapterAnswer, Defaults, Send
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.json_text import memory
from fanfold.fanout.template import Template
from fanfold.fanout.template import compiled as compiled_template
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import Prompt, Upstream

# With JMESPath, which few upstreams' answers take.
_RESPONSE_PATH = "fanfold.fanout.adapters.response_path"
compiled: Callable[[str], Any] = on_call(_RESPONSE_PATH, "compiled")
picked_answer: Callable[[str, UpstreamResponse, Any], Any] = on_call(_RESPONSE_PATH, "picked_answer")

_DEFAULT_TEMPLATE = {"text": "{chunk}"}
_METHODS = frozenset({"POST", "GET"})


class HttpJson:
    """Sends the template as a JSON body, or with GET its members as the query; answers the JSON that comes back."""

    is_ai = False
    defaults = Defaults()

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Return the answer's JSON, or what `response_path` picks of it."""
        response = await send(_request(upstream, prompt, self.defaults))
        value = json_exchange.read_json(response)
        input_tokens, output_tokens = json_exchange.reported_tokens(value)
        result, written = value, response.body
        if upstream.response_path is not None:  # which can pick the same thing many times over
            result = picked_answer(upstream.response_path, response, value)
            written = orjson.dumps(result)
        return AdapterAnswer(result, input_tokens, output_tokens, memory(written), None, response.status)

    def check(self, upstream: Upstream) -> None:
        """Refuse an address, headers, method, template or path that cannot be used. Raises `InvalidPlan`."""
        json_exchange.check_http(upstream, self.defaults)
        if upstream.method not in _METHODS:
            raise InvalidPlan("method must be POST or GET.")
        if upstream.response_path is not None:
            compiled(upstream.response_path)
        _template(upstream)
        if upstream.method == "GET" and not _is_query(_template_value(upstream)):
            raise InvalidPlan("request_template for GET must be an object of strings, numbers and booleans.")

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """Return the rendered template's strings."""
        template = upstream.made.get(Template) or _template(upstream)
        return json_exchange.texts(template.render(prompt))

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Return `options.max_tokens`: what the template is trusted to ask for."""
        return json_exchange.max_tokens(upstream)


def _template_value(upstream: Upstream) -> Any:
    return _DEFAULT_TEMPLATE if upstream.request_template is None else upstream.request_template


def _template(upstream: Upstream) -> Template:
    template: Template = compiled_template(_template_value(upstream))
    upstream.made[Template] = template
    return template


def _is_query(template: Any) -> bool:
    return isinstance(template, dict) and all(
        isinstance(value, str | int | float) for value in template.values()
    )


def _request(upstream: Upstream, prompt: Prompt, defaults: Defaults) -> UpstreamRequest:
    template = upstream.made.get(Template) or _template(upstream)
    if upstream.method != "GET":
        return json_exchange.post(upstream, upstream.url, template.write(prompt), defaults=defaults)
    members = {name: _query_text(value) for name, value in template.render(prompt).items()}
    parts = urlsplit(upstream.url)
    query = "&".join(filter(None, (parts.query, urlencode(members, quote_via=quote, safe=""))))
    return json_exchange.get(
        upstream, urlunsplit(parts._replace(query=query, fragment="")), defaults=defaults
    )


def _query_text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
