"""Models of requests and answers, and the sentences for requests that are not valid."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from kmeans_lab.presets import PRESETS, Preset
from kmeans_lab.web.request_limits import Complaint

Start = Literal["k-means++", "d2", "random", "random-partition", "first"]

_MOST = 2**53  # what JSON's readers agree on; the limits that count are the server's own
_SEED = 2**32 - 1


class _Strict(BaseModel):
    """A model that accepts no other fields, and no text where a number belongs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PresetWorkload(_Strict):
    """One of the named workloads."""

    preset: Annotated[str, Field(min_length=1, max_length=64, examples=["standard", "smoke"])]


class OwnWorkload(_Strict):
    """Round clusters around a ring of radius 14, each with the standard deviation ``spread``."""

    n_samples: Annotated[int, Field(ge=1, le=_MOST)] = 16_250
    n_features: Annotated[int, Field(ge=1, le=_MOST)] = 10
    n_clusters: Annotated[int, Field(ge=1, le=_MOST)] = 25
    spread: Annotated[float, Field(ge=0.001, le=1000)] = 1.2
    seed: Annotated[int, Field(ge=0, le=_SEED)] = 7


def _which(value: Any) -> str:
    named = "preset" in value if isinstance(value, dict) else hasattr(value, "preset")
    return "named" if named else "own"


Workload = Annotated[
    Annotated[PresetWorkload, Tag("named")] | Annotated[OwnWorkload, Tag("own")],
    Discriminator(_which),
]


class LaneRequest(_Strict):
    """A kernel by its name, and the threads that it may use."""

    kernel: Annotated[str, Field(min_length=1, max_length=64, examples=["cpp", "numpy"])]
    threads: Annotated[int, Field(ge=1, le=1024)] = 1


class RaceRequest(_Strict):
    """A race: its lanes, its data and its start."""

    mode: Literal["measure", "race"] = "measure"
    workload: Workload
    start: Start | None = None
    start_seed: Annotated[int, Field(ge=0, le=_SEED)] = 7
    max_iter: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    baseline: Annotated[int, Field(ge=0, le=_MOST)] = 0
    lanes: Annotated[list[LaneRequest], Field(min_length=1, max_length=64)]

    @property
    def preset(self) -> Preset | None:
        """The workload's preset; None where it is unknown, or the workload has its own sizes."""
        return PRESETS.get(getattr(self.workload, "preset", ""))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, features and clusters."""
        it: Any = self.preset or self.workload
        return it.n_samples, it.n_features, it.n_clusters

    @property
    def iterations(self) -> int:
        """The most iterations of a fit."""
        default = self.preset.max_iter if self.preset else 100
        return self.max_iter or default


class Bounds(BaseModel):
    """Bounds of a ratio, with their confidence; of one round only where it allows no interval."""

    low: float
    high: float
    confidence: float
    rounds: int


class Verdict(BaseModel):
    """The outcome of a race. Every list has an entry for each lane: None where it has no time."""

    baseline: int
    times: list[float | None] = Field(description="how many times as fast as the baseline")
    intervals: list[Bounds | None] = Field(description="of these ratios")
    differs: list[bool | None] = Field(
        description="whether the ratio tells a difference; null for the baseline"
    )
    agree: bool | None = Field(description="whether all labels are the same")
    loaded: str = Field(description="what other work the machine had; empty where none was seen")
    sentence: str


class Certificate(BaseModel):
    """Whether the lane's kernel was right, and how that was found out."""

    valid: bool
    sentence: str
    ties: int


class LaneResult(BaseModel):
    """The result of a lane."""

    seconds: float = Field(description="median of all fits")
    n_iter: int
    inertia: float
    stop: str
    phases: dict[str, float] = Field(description="median seconds of each phase")
    share: float | None = Field(description="of the roofline")
    certificate: Certificate
    repeats: list[float] = Field(description="seconds of every fit")
    rounds: list[int] = Field(
        description="the round of every fit; rounds that two lanes share are compared"
    )
    waited: float | None = Field(
        description="share of the fits' time in which they had no processor; null if not known"
    )
    watched: bool = Field(description="it is one fit, watched, less the seconds of watching")
    labels_hash: str


class Step(BaseModel):
    """An iteration that was sent, without its picture."""

    n_iter: int
    inertia: float
    changed: int
    seconds: float


class LaneState(BaseModel):
    """What is known of a lane."""

    kernel: str
    threads: int
    state: str
    sentence: str
    result: LaneResult | None
    iterations: list[Step]


class RaceState(BaseModel):
    """All that is known of a race, but for the pictures."""

    id: str
    started: float
    mode: str
    workload: Mapping[str, object]
    title: str
    state: str
    request: Mapping[str, object]
    plan: Mapping[str, object] | None
    lanes: list[LaneState]
    verdict: Verdict | None
    machine: Mapping[str, object]
    version: str


class Trouble(BaseModel):
    """One sentence: fact, rule, remedy."""

    detail: str


class FieldTrouble(BaseModel):
    """What is wrong with a field of a request."""

    field: str
    sentence: str


class Invalid(Trouble):
    """All that is wrong with a request."""

    errors: list[FieldTrouble]


def complaints(errors: Sequence[Any]) -> list[Complaint]:
    """Put what pydantic found into our words."""
    return [(_field(it["loc"]), _sentence(it)) for it in errors]


def _field(place: Sequence[Any]) -> str:
    parts = [str(part) for part in place if part not in ("body", "path", "query", "header")]
    return ".".join(part for part in parts if part not in ("named", "own")) or "body"


def _sentence(error: Any) -> str:
    name, kind, context = _field(error["loc"]), error["type"], error.get("ctx", {})
    given = error.get("input")
    shown = f"{name}={given!r:.60}" if isinstance(given, str | int | float | None) else name
    match kind:
        case "missing":
            return f"{name} is missing and must be given; add it"
        case "extra_forbidden":
            return f"{name} is not known; leave it out"
        case "json_invalid":
            return "the body is not JSON; send JSON"
        case "literal_error":
            return f"{shown} is not known; choose one of {context['expected']}"
        case "greater_than_equal":
            return f"{shown} must be at least {context['ge']}"
        case "less_than_equal":
            return f"{shown} must be at most {context['le']}"
        case "string_too_short" | "string_too_long":
            return f"{name} must be a name of 1 to 64 letters; GET /api/kernels and /api/presets"
        case "too_short" | "too_long":
            return f"{name} must have 1 to 4 entries; add or remove some"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"{shown} must be an integer, written without quotes"
        case "float_type" | "float_parsing" | "finite_number":
            return f"{shown} must be a finite number, written without quotes"
        case "string_type":
            return f"{name} must be text in quotes"
        case "list_type":
            return f"{name} must be a list in [ ]"
    if kind.startswith(("model_", "dict_", "union_")):
        return f"{name} must be an object in {{ }}"
    return f"{name} is not as the document at /openapi.json says ({kind})"
