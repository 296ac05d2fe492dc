"""Which upstreams a request means."""

from functools import lru_cache

from fanfold.core.errors import UnknownUpstream, UpstreamNotAllowed
from fanfold.core.values import value
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.types import Upstream
from fanfold.processing.schemas import ProcessOptions
from fanfold.upstreams.directory import TenantUpstreams


@value
class Selection:
    """The upstreams in the order asked, the one that folds, and whether they were named by address (the short form)."""

    upstreams: tuple[Upstream, ...]
    folder: Upstream
    by_address: bool = False


@value
class AddressPolicy:
    """Whether a client may name addresses of its own, and the guard that judges them."""

    guard: AddressGuard
    adhoc_allowed: bool


def select_upstreams(request: ProcessOptions, own: TenantUpstreams, policy: AddressPolicy) -> Selection:
    """Return the upstreams `request` names, else the tenant's default; a 422 where there is none.

    A 503 for one whose credential does not open.
    """
    upstreams = _asked(request, own, policy)
    slug = request.fold.upstream
    folder = upstreams[0] if slug is None else _by_slug(slug, own, "fold.upstream")
    return Selection(upstreams, folder, by_address=request.api_urls is not None)


def _asked(request: ProcessOptions, own: TenantUpstreams, policy: AddressPolicy) -> tuple[Upstream, ...]:
    if request.api_urls is not None:
        return tuple(
            [
                _by_address(url, own, policy, f"api_urls[{place}]")
                for place, url in enumerate(request.api_urls)
            ]
        )
    if request.upstreams is not None:
        return tuple(
            [_by_slug(slug, own, f"upstreams[{place}]") for place, slug in enumerate(request.upstreams)]
        )
    default = own.find_default()
    if default is None:
        raise UnknownUpstream(
            "No upstream is named, and the tenant has no enabled default. Register one: POST /v1/upstreams."
        )
    return (default,)


def _by_slug(slug: str, own: TenantUpstreams, which: str) -> Upstream:
    upstream = own.find(slug)
    if upstream is None:
        raise UnknownUpstream(f"{which} is no enabled upstream of the tenant, nor a shared one.")
    return upstream


def _by_address(url: str, own: TenantUpstreams, policy: AddressPolicy, which: str) -> Upstream:
    try:
        policy.guard.check_url(url)
    except ValueError as error:
        raise UpstreamNotAllowed(f"{which} cannot be called. {error}") from None
    upstream = own.find_url(url)
    if upstream is not None:
        return upstream
    if not policy.adhoc_allowed:
        raise UpstreamNotAllowed(f"{which} is not the address of an enabled upstream of the tenant.")
    return _named_by_client(url)


@lru_cache(maxsize=1_024)
def _named_by_client(url: str) -> Upstream:
    return Upstream(kind="http_json", url=url)
