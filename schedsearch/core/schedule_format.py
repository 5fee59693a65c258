"""The schedule format: the fields of `schedsearch.schedule/1`, and its published JSON Schema.

Fields that the format does not name are refused, except under `extensions`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, WithJsonSchema

from schedsearch.core.complaints import complaint, field_places
from schedsearch.core.sample import Split

NAME, MAJOR = "schedsearch.schedule", 1
FORMAT: Literal["schedsearch.schedule/1"] = "schedsearch.schedule/1"

Text = Annotated[str, Field(min_length=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]

# `Schedule` and `RankerSpec` validate these themselves and say what is wrong in their own words;
# here they only need a description for the published schema.
_Keep = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 1,
            "description": "Per decoder layer: vision tokens that the layer processes / vision "
            "tokens of the sample. Never grows with depth.",
        }
    ),
]
_Param = Annotated[Any, WithJsonSchema({"type": ["number", "string"]})]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RankerEntry(_Entry):
    """The ranker by name, with parameters that differ from its defaults."""

    name: Text = "last"
    params: dict[str, _Param] = {}


class ScheduleEntry(_Entry):
    """The schedule itself."""

    keep: _Keep
    ranker: RankerEntry = RankerEntry()


class TargetEntry(_Entry):
    """The model that the schedule was made for."""

    architecture: Text
    layers: Annotated[int, Field(ge=1)]
    hidden_size: Annotated[int, Field(ge=1)] | None = None
    model: Text | None = None
    weights: Text | None = None


class Estimate(_Entry):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Score(_Entry):
    """A metric on one split; `drop` is keep-all minus this schedule, paired by sample."""

    metric: Text
    split: Split
    n: Annotated[int, Field(ge=1)]
    score: Estimate
    drop: Estimate | None = None


class Results(_Entry):
    """What was measured; the ratios are means over the calibration set."""

    flops_ratio: Ratio
    kv_ratio: Ratio
    scores: list[Score] = []


class Calibration(_Entry):
    """The calibration set by name and content."""

    name: Text
    digest: Text


class Provenance(_Entry):
    """Where the schedule came from: version of schedsearch, UTC time, study, digest of its spec."""

    version: Text
    created: Annotated[
        str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
    ]
    study: Text | None = None
    spec: Text | None = None
    seed: int | None = None
    calibration: Calibration | None = None


class CertificateEntry(_Entry):
    """What is proven of this schedule, and of no other.

    The mean drop over all samples is at most `tolerance`, and over the samples of a kind at most
    its one of `tasks`, with probability 1 - `alpha` all at once; on samples drawn from the
    distribution that the `n` of `data` were drawn from. `weights` are digests that the model's go
    by, `schedule` is the digest of keep and ranker. It holds in the precision `dtype`, with the
    `quantization`, and was the study's attempt number `attempt`. `claim` says in words what is
    proven, and has to agree.
    """

    claim: Text
    metric: Text
    tolerance: float | None = None
    tasks: dict[str, float] = {}
    alpha: Annotated[float, Field(gt=0, lt=1)]
    n: Annotated[int, Field(ge=1)]
    bound: float
    method: Text
    data: Text
    data_digest: Text
    weights: list[Text]
    schedule: Text
    dtype: Text | None = None
    quantization: Text | None = None
    attempt: Annotated[int, Field(ge=1)] = 1


class ScheduleFile(_Entry):
    """The content of a schedule file."""

    format: Literal["schedsearch.schedule/1"] = FORMAT
    schedule: ScheduleEntry
    target: TargetEntry | None = None
    results: Results | None = None
    provenance: Provenance | None = None
    certificate: CertificateEntry | None = None
    extensions: dict[str, JsonValue] = {}


def json_schema() -> dict[str, Any]:
    """Return the published JSON Schema (draft 2020-12) of the format.

    It cannot say that `keep` never grows, nor that its length equals `target.layers`; reading can.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{NAME}:{MAJOR}",
        **ScheduleFile.model_json_schema(),
        "required": ["format", "schedule"],
    }


def explain(error: ValidationError) -> str:
    """Return the first complaint in the house form."""
    unknown = f"is no field of {FORMAT}; {{hint}}data of your own belongs under `extensions`"
    return complaint(error, unknown, field_places(ScheduleFile))
