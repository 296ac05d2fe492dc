"""From what a client asks for to what the engine is asked."""

from fanfold.auth.principal import PrincipalTenant
from fanfold.fanout.types import FanOutRequest, FoldOptions, Split
from fanfold.processing.schemas import ProcessOptions
from fanfold.processing.selection import Selection


def engine_request(
    options: ProcessOptions, selection: Selection, tenant: PrincipalTenant, *, text: str = ""
) -> FanOutRequest:
    """Return the engine's request; without a text where that comes by itself."""
    asked, fold = options.split, options.fold
    if options.chunk_size:
        split = Split(size=options.chunk_size)
    else:
        split = Split(by=asked.by, size=asked.size, overlap=asked.overlap)
    return FanOutRequest(
        text=text,
        upstreams=selection.upstreams,
        split=split,
        strategy=options.strategy,
        prompt=options.prompt,
        fold=FoldOptions(by=fold.by, separator=fold.separator, upstream=selection.folder, prompt=fold.prompt),
        on_error=options.on_error,
        min_success=options.min_success,
        timeout_s=options.timeout_s,
        deadline_s=options.deadline_s,
        max_attempts=options.max_attempts,
        max_units=options.max_units,
        owner=str(tenant.id),
        weight=tenant.limits.weight,
    )
