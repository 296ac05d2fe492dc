"""What makes a job, on the wire."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from fanfold.core.schemas import StrictModel, with_example
from fanfold.processing.schemas import ProcessOptions, RequestText

MAX_METADATA = 16
_UNFIT = {
    "stream": "stream is not for jobs: GET /v1/jobs/{id}/events tells a job's events",
    "on_disconnect": "on_disconnect is not for jobs: they go on whoever leaves",
}

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class JobOptions(ProcessOptions):
    """What is to be done with a job's text or lines, as with those of `POST /v1/process`.

    `deadline_s` is for each turn of the job, in which about 50 of its calls are made.
    """

    model_config = with_example(split={"by": "sentences", "size": 300}, metadata={"book": "红楼梦"})

    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=MAX_METADATA,
        description="Strings of your own, shown with the job: keys of at most 64 characters, values of at most 512.",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_for_a_job(cls, data: Any) -> Any:
        if isinstance(data, dict) and not _UNFIT.keys().isdisjoint(data):
            raise ValueError(next(why for name, why in _UNFIT.items() if name in data))
        return data


class JobCreate(JobOptions):
    """A text and what is to be done with it, as for `POST /v1/process`, but later and at leisure."""

    model_config = with_example(
        text="Fan out, then fold. 先展开，再折叠。 Each sentence here is a chunk.",
        split={"by": "sentences", "size": 30},
        metadata={"book": "红楼梦"},
    )

    text: RequestText = Field(
        examples=["A long text. And more of it."],
        description="The text, in any script; the plan limits its length.",
    )


class JobLine(StrictModel):
    """A line of NDJSON: a text that is cut by itself, and the name that its results carry."""

    model_config = with_example(custom_id="chapter-1", text="A text. 一段文字。")

    custom_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="A name of your own, once in a job."
    )
    text: RequestText
