"""The only shapes that cross the wall, in either direction: strict, versioned, closed.

Guarantees: whatever the gateway answers and whatever a sandbox hands out is one of these, parsed from JSON; an unknown
key is an error. Times that a desk sees are whole ticks (gateway.redaction rounds them). No field here may carry a value
of a row, except a `Table` of noisy values and the bytes of an output that two people approved.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tre.errors import RequestError
from tre.rules.balances import Cost
from tre.rules.changes import Changes
from tre.rules.disclosure.finding import Finding, Findings
from tre.rules.policy import Disclosure, Measure
from tre.rules.quality import SealInfo
from tre.rules.schema import Closed, Identifier, SyntheticLabel, TableSchema
from tre.rules.told import RunEnd
from tre.rules.voting import DecisionKind, Said
from tre.statistics import linking
from tre.statistics.blocks import Estimate
from tre.statistics.declared import Declared
from tre.statistics.linking import Link
from tre.statistics.request import Request
from tre.statistics.table import Expected, Table

LABEL = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
Label = Annotated[str, Field(pattern=LABEL)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Parameter = str | int | float | bool | None


class World(StrEnum):
    """Where a notebook is running, and so what its data are."""

    DESK = "desk"
    REHEARSAL = "rehearsal"
    RUN = "run"
    BLOCK = "block"

    @property
    def real(self) -> bool:
        """Whether its rows are real: all of them, or one block's."""
        return self in (World.RUN, World.BLOCK)


class OutputKind(StrEnum):
    TABLE = "table"
    FIGURE = "figure"
    TEXT = "text"
    MODEL = "model"

    @property
    def suffix(self) -> str:
        """The ending of its file, here and in a bundle."""
        return {OutputKind.TABLE: "csv", OutputKind.FIGURE: "png", OutputKind.TEXT: "txt", OutputKind.MODEL: "json"}[
            self
        ]


class DatasetInfo(Closed):
    """A dataset as a project may know it: declared facts and its twin's label, nothing learnt from rows."""

    id: Identifier
    title: str
    description: str
    source: str
    licence: str
    steward: str
    population: str
    version: str
    delta: float
    size: int | None = None
    columns: tuple[str, ...]
    table: TableSchema
    twin: SyntheticLabel | None
    disclosure: Disclosure = Disclosure()
    # Of this version's quality, if one is in force.
    seal: SealInfo | None = None

    def for_a_block(self) -> DatasetInfo:
        """Without what all rows decide: the version's name, there and in the twin's label, and the seal."""
        twin = self.twin.model_copy(update={"version": None}) if self.twin is not None else None
        return self.model_copy(update={"version": "block", "twin": twin, "seal": None})

    def linked(self, other: DatasetInfo) -> DatasetInfo:
        """Both as one: pairs of one person's rows. Raises RequestError: link_invalid."""
        if self.population != other.population:
            raise RequestError(
                "link_invalid",
                f"{self.id!r} and {other.id!r} are about different populations.",
                "Only datasets about the same people can be linked.",
            )
        table = linking.schema(self.table, other.table, other.id)
        columns = (*self.columns, *(f.name for f in table.fields[len(self.table.fields) :]))
        return self.model_copy(
            update={
                "version": linking.version(self.version, other.version), "table": table, "columns": columns, "size": None,
            }
        )  # fmt: skip

    def link_to(self, other: DatasetInfo, parquet: Path) -> Link:
        """How the rows of `other`, in that file, are joined to this dataset's."""
        return Link(
            parquet=parquet, own_unit=self.table.unit, other_unit=other.table.unit,
            own_columns=tuple(f.name for f in self.table.fields if f.name != self.table.unit.field),
            columns=linking.names(self.table, other.table, other.id),
        )  # fmt: skip


class TwinOffer(Closed):
    """A synthetic twin that the person may have as a published thing."""

    id: Identifier
    title: str
    description: str
    licence: str
    tier: str
    made: str
    learnt: str
    epsilon: float | None
    columns: tuple[str, ...]
    public: bool


class Released(Closed):
    """A stored value, as replayed."""

    name: str
    request: Request
    release: str
    dataset_version: str
    table: Table


class ReleasedEstimate(Closed):
    """A stored estimate over blocks, as replayed: a number, and an interval where one is offered, for each of its size.

    `scale` is of the noise: in ranks of the blocks for a median, else of the number.
    """

    name: Label
    estimate: Estimate
    digest: Digest
    release: str
    population: str
    datasets: dict[Identifier, str]
    blocks: int
    values: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    interval: str
    mechanism: str
    sensitivity: float
    scale: float
    measure: Measure
    rho_units: int
    libraries: dict[str, str]


class ReleasedOutput(Closed):
    """An approved output inside a bundle."""

    name: Label
    kind: OutputKind
    context: str
    file: Annotated[str, Field(pattern=r"^outputs/[A-Za-z0-9_-]{1,64}\.(csv|png|txt|json)$")]


class Manifest(Closed):
    """What a sandbox finds at /data/manifest.json."""

    world: World
    project: str
    datasets: dict[Identifier, DatasetInfo]
    released: dict[Digest, Released]


class EmittedRequest(Closed):
    name: Label
    request: Request


class EmittedOutput(Closed):
    """An output that a notebook proposes; its bytes, which do not count of a declared table, lie in the outbox under
    `file`, a name that our code chose. `data`: the output that holds a picture's numbers."""

    name: Label
    kind: OutputKind
    context: str = Field(min_length=1, max_length=4_000)
    file: Annotated[str, Field(pattern=r"^output-[0-9]{1,3}\.(csv|png|txt|json)$")]
    declared: Declared | None = None
    data: Label | None = None


class EmittedEstimate(Closed):
    """`values`: on the whole twin."""

    name: Label
    estimate: Estimate
    values: tuple[float, ...] = Field(default=(), max_length=20)


class Emitted(Closed):
    """What a notebook asked for, in order, as its own process wrote it down: a claim. `opened`: the datasets it used."""

    requests: tuple[EmittedRequest, ...] = Field(default=(), max_length=200)
    outputs: tuple[EmittedOutput, ...] = Field(default=(), max_length=50)
    estimates: tuple[EmittedEstimate, ...] = Field(default=(), max_length=50)
    opened: tuple[Identifier, ...] = Field(default=(), max_length=200)


class Failure(Closed):
    """Why a rehearsal failed, in full: it saw only the twin."""

    code: str
    message: str
    next_step: str
    traceback: str = ""


class PlannedRequest(Closed):
    """One statistic table of the plan, its price, and the error to expect (from the request and public facts alone)."""

    name: Label
    request: Request
    digest: Digest
    population: str
    dataset_version: str
    rho_units: int
    delta_units: int = 0
    measure: Measure = Measure.ZCDP
    replayed: bool
    expected_error: dict[str, float | None]
    expected: tuple[Expected, ...] = ()


class PlannedEstimate(Closed):
    """One estimate over blocks. `least_blocks`: the fewest that it can be had from at its price. `ranks`: how far the
    noise moves a median, in ranks of the blocks, at 95 %; `error`: of a mean's noise, in its own unit. Of the twin's blocks,
    where there were enough: how much they differ, how far they are from the whole twin, and the error to expect at 95 %."""

    name: Label
    estimate: Estimate
    digest: Digest
    rho_units: int
    measure: Measure
    replayed: bool
    least_blocks: int
    interval: str
    ranks: float | None = None
    error: float | None = None
    spread: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()


class BlockPlan(Closed):
    """What runs where: the notebook, on each of so many blocks of one population's people, each in a sandbox of its own
    for so many seconds, some at once. `advice` is for people, from declared facts alone."""

    blocks: int
    population: str
    datasets: tuple[Identifier, ...]
    seconds: int
    memory_mb: int
    lanes: int
    advice: tuple[str, ...] = ()


class PlannedOutput(Closed):
    """`findings`: what the rules said of it on the twin; on the real rows they are asked again."""

    name: Label
    kind: OutputKind
    context: str
    declared: Declared | None = None
    data: Label | None = None
    findings: Findings = ()


class Plan(Closed):
    """What will leave, fixed before anything real is touched. Its digest is what a person confirms."""

    version: Literal[1] = 1
    project: str
    person: str
    notebook: Digest
    parameters: dict[str, Parameter]
    datasets: dict[Identifier, str]
    policy: Digest
    requests: tuple[PlannedRequest, ...]
    outputs: tuple[PlannedOutput, ...]
    costs: dict[str, int]
    automatic: bool
    run: bool
    estimates: tuple[PlannedEstimate, ...] = ()
    blocks: BlockPlan | None = None
    # For people: what the rehearsal on the twin does not show.
    advice: tuple[str, ...] = ()

    @property
    def in_blocks(self) -> bool:
        """Whether blocks have to be run for it."""
        return any(not e.replayed for e in self.estimates)


class Stage(StrEnum):
    """All that a desk is told of a job: coarse, and changed on ticks."""

    REHEARSING = "rehearsing"
    REHEARSAL_FAILED = "rehearsal_failed"
    PLANNED = "planned"
    WITHDRAWN = "withdrawn"
    IN_PROGRESS = "in_progress"
    IN_REVIEW = "in_review"
    RELEASED = "released"
    RETURNED = "returned"
    REJECTED = "rejected"
    FAILED = "failed"
    REVOKED = "revoked"

    @property
    def final(self) -> bool:
        return self not in (Stage.REHEARSING, Stage.PLANNED, Stage.IN_PROGRESS, Stage.IN_REVIEW)


class Progress(Closed):
    """How many code cells of a rehearsal have been run. Of a run on real rows there is none."""

    done: int = Field(ge=0, le=100_000)
    of: int = Field(ge=0, le=100_000)


class JobView(Closed):
    """`run` is how a run on real rows ended, where the policy's rule lets that be told; `name`, the notebook's at the desk."""

    id: str
    name: str | None = None
    project: str
    person: str
    stage: Stage
    progress: Progress | None = None
    submitted: str
    updated: str
    plan: Plan | None = None
    plan_digest: Digest | None = None
    costs: tuple[Cost, ...] = ()
    failure: Failure | None = None
    release: str | None = None
    run: RunEnd | None = None
    # When the blocks of an estimate begin and it is due, fixed at its confirmation; what people decide may come later.
    begins: str | None = None
    due: str | None = None
    comments: tuple[str, ...] = ()


class Submission(Closed):
    """`blocks`: into how many blocks people are to be put, for estimates; "auto": as many as they need. `name`: what the
    notebook is called at the desk, by which checkers are shown what changed since the one of that name before."""

    project: Identifier
    notebook: str
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    blocks: Annotated[int, Field(ge=2, le=10_000)] | Literal["auto"] | None = None


class Confirmation(Closed):
    """`exceptions`: by the output's name, why it should leave although a rule fails it."""

    plan: Digest
    exceptions: dict[Label, Annotated[str, Field(min_length=1, max_length=4_000)]] = Field(default={}, max_length=50)


class ReleaseInfo(Closed):
    id: str
    job: str
    project: str
    person: str
    stage: Stage
    updated: str
    statistics: int
    outputs: int
    charged: dict[str, float]


class Vote(Closed):
    decision: DecisionKind
    comment: str = Field(default="", max_length=4_000)


class ReviewOutput(Closed):
    name: str
    kind: OutputKind
    context: str
    present: bool
    digest: str | None
    findings: tuple[Finding, ...]
    exception: str | None = None


class ReviewInfo(Closed):
    """What a checker sees; the other's vote once both have voted. `run`: how the run ended; `costs`: taken, and then left."""

    release: str
    project: str
    person: str
    state: str
    submitted: str
    ready: bool
    plan: Plan
    notebook_source: str
    run: RunEnd | None = None
    outputs: tuple[ReviewOutput, ...]
    my_vote: DecisionKind | None
    votes_cast: int
    disclosure: Disclosure = Disclosure()
    costs: tuple[Cost, ...] = ()
    comments: tuple[str, ...]
    remarks: tuple[Said, ...] = ()
    changes: Changes | None = None


class Me(Closed):
    person: str
    name: str
    role: str
    projects: tuple[str, ...]


class ProblemDetail(Closed):
    """RFC 9457, with our stable code and the next step."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
