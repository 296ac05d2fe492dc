"""Why an operator changes something."""

from typing import Annotated

from fastapi import Query

from fanfold.core.schemas import Reason

Why = Annotated[Reason | None, Query(description="Why, for the audit log.")]
