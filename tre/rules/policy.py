"""The policy files as types: what a data controller may say, and nothing else.

Guarantees: closed shapes (an unknown key is an error, never ignored), defaults that are the strict ones, and one
function, `check`, for what holds between files. Reading YAML and finding line numbers is secure.policies' work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tre.rules import quality
from tre.rules.hub import Hub
from tre.rules.quality import QualityPolicy
from tre.rules.schema import Address, Closed, Identifier, Name, TableSchema
from tre.rules.told import FailureTold
from tre.rules.twin import TwinPolicy, problems, same_people


class Role(StrEnum):
    RESEARCHER = "researcher"
    CHECKER = "checker"
    ADMIN = "admin"


class RunRule(StrEnum):
    """When a notebook is run on real rows: only for outputs that need it, or always."""

    WHEN_NEEDED = "when_needed"
    ALWAYS = "always"


class Measure(StrEnum):
    """How a population's losses add up: as zCDP's rho, or as pure epsilon (better for a dozen statistics or fewer)."""

    ZCDP = "zcdp"
    PURE = "pure"


class Isolation(StrEnum):
    """How notebooks are kept from the machine they run on. Below `full` an area holds public datasets only."""

    FULL = "full"  # namespaces, filter, limits: bubblewrap
    REDUCED = "reduced"  # Landlock and filter, where namespaces are forbidden
    NONE = "none"  # limits alone


class Loss(Closed):
    """A privacy loss as people write it: (epsilon, delta), always as a pair. `delta` is 0 for pure epsilon alone.

    `keys_delta` comes on top: what releases that find their group keys in the data may add to delta, all together.
    """

    epsilon: float = Field(gt=0, le=100)
    delta: float = Field(ge=0, lt=1e-3)
    keys_delta: float = Field(default=0, ge=0, lt=1e-3)


class ZeroRule(StrEnum):
    """What a cell is that nobody is in."""

    ALLOW = "allow"
    REVIEW = "review"
    FAIL = "fail"

    @property
    def strictness(self) -> int:
        return list(ZeroRule).index(self)


class Disclosure(Closed):
    """Thresholds of the disclosure rules for outputs without noise. Of an area's and a project's, the stricter holds."""

    # The fewest people that a cell may be of.
    threshold: int = Field(default=10, ge=1)
    # A longer table may be a list of people.
    max_rows: int = Field(default=500, ge=1)
    # The `dominance_n` largest contributions may not be the share `dominance_k` of a sum or more.
    dominance_n: int = Field(default=2, ge=1, le=10)
    dominance_k: float = Field(default=0.9, gt=0, le=1)
    # What is left without the two largest must be at least this share of the largest.
    p_percent: float = Field(default=0.1, ge=0, le=10)
    degrees_of_freedom: int = Field(default=10, ge=1)
    zeros: ZeroRule = ZeroRule.REVIEW
    # Counts must be multiples of this; 1: any.
    round_to: int = Field(default=1, ge=1)
    # Whether a few people without a value are a finding.
    missing: bool = False

    def stricter(self, other: Disclosure | None) -> Disclosure:
        """Both at once: of each number the stricter one."""
        if other is None:
            return self
        return Disclosure(
            threshold=max(self.threshold, other.threshold),
            max_rows=min(self.max_rows, other.max_rows),
            dominance_n=max(self.dominance_n, other.dominance_n),
            dominance_k=min(self.dominance_k, other.dominance_k),
            p_percent=max(self.p_percent, other.p_percent),
            degrees_of_freedom=max(self.degrees_of_freedom, other.degrees_of_freedom),
            zeros=max(self.zeros, other.zeros, key=lambda z: z.strictness),
            # Multiples of both.
            round_to=math.lcm(self.round_to, other.round_to),
            missing=self.missing or other.missing,
        )


class Review(Closed):
    checkers: Literal[2] = 2
    # Statistics whose whole plan stays within this epsilon need no people; 0 means that people approve every plan.
    automatic_epsilon: float = Field(default=0, ge=0, le=100)


class Sandbox(Closed):
    isolation: Isolation = Isolation.FULL
    wall_seconds: int = Field(default=300, ge=1)
    cpu_seconds: int = Field(default=600, ge=1)
    memory_mb: int = Field(default=4096, ge=512)
    outbox_mb: int = Field(default=64, ge=1)


class Queue(Closed):
    """How work is shared out. `rehearsals` and `runs` are what one worker does at once; the rest is of all together."""

    rehearsals: int = Field(default=2, ge=1, le=64)
    runs: int = Field(default=2, ge=1, le=256)
    # Of one project's rehearsals, and of its runs, at once.
    per_project: int = Field(default=2, ge=1)
    # How often a run is started whose worker or machine was lost under it.
    attempts: int = Field(default=3, ge=1, le=10)
    # After how long without a word a worker counts as lost, where its process cannot be looked at.
    lease_seconds: int = Field(default=30, ge=2, le=3600)
    # Whether sandboxes are started before there is work for them.
    warm: bool = True


class Blocks(Closed):
    """Estimates over blocks. Each block has a slot of `seconds`, whether it needs them or not; `lanes` run at once on one machine."""

    seconds: int = Field(default=60, ge=1, le=3600)
    lanes: int = Field(default=2, ge=1, le=64)
    memory_mb: int = Field(default=2048, ge=512)
    most: int = Field(default=1000, ge=2, le=10_000)
    # How many blocks of the twin a rehearsal runs, for the error to expect; below 4, none.
    twin: int = Field(default=16, ge=0, le=32)


class LocalEngine(Closed):
    """Runs on the machine of their worker."""

    kind: Literal["local"] = "local"


class SlurmEngine(Closed):
    """Runs as jobs of a Slurm cluster whose nodes have the area's folder and this Python at the same paths."""

    kind: Literal["slurm"]
    partition: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    account: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    cpus: int = Field(default=1, ge=1, le=256)
    # Over how many jobs the blocks of one plan are spread, each of which runs `blocks.lanes` at once.
    block_jobs: int = Field(default=1, ge=1, le=64)
    # How long such a job may wait for its node: before the first slot, and in the place of one that was lost.
    block_wait_seconds: int = Field(default=30, ge=1, le=3600)


Engine = Annotated[LocalEngine | SlurmEngine, Field(discriminator="kind")]


class Area(Closed):
    """policies/area.yaml"""

    title: str
    controller: str
    review: Review = Review()
    disclosure: Disclosure = Disclosure()
    sandbox: Sandbox = Sandbox()
    queue: Queue = Queue()
    blocks: Blocks = Blocks()
    # Where notebooks run on real rows; rehearsals run where their worker is.
    engine: Engine = LocalEngine()
    run: RunRule = RunRule.WHEN_NEEDED
    # Whether a desk is told how a run on real rows ended (rules.told): a run can choose that by what it read.
    failure_told: FailureTold = FailureTold.NEVER
    # How many admins a raise of a budget needs: with 2, one proposes it and another confirms.
    raises_need: Literal[1, 2] = 1
    # What the desk may see of an unreleased job changes on multiples of this many seconds only.
    tick_seconds: int = Field(default=60, ge=1)
    # Whose tokens are taken beside those of `tre-admin token`.
    hub: Hub | None = None

    @property
    def blocks_at_once(self) -> int:
        return self.blocks.lanes * (self.engine.block_jobs if isinstance(self.engine, SlurmEngine) else 1)


class Population(Closed):
    """Who the people are, and what may ever be learnt about them: all datasets, all projects, all time."""

    title: str
    measure: Measure = Measure.ZCDP
    lifetime: Loss
    # A limit on the rate, below the promise: what may be reserved within one calendar year (UTC).
    yearly: Loss | None = None


class Populations(Closed):
    """policies/populations.yaml"""

    populations: dict[Identifier, Population]


class Dataset(TableSchema):
    """policies/datasets/ID.yaml"""

    title: str
    description: str = ""
    source: str = ""
    licence: str = ""
    # Whether anybody may read these very rows anyway: only such data may be where isolation is not full.
    public: bool = False
    steward: str
    population: Identifier
    # About how many rows, as the controller says in public: prices tell the errors to expect at that size.
    size: int | None = Field(default=None, ge=1)
    twin: TwinPolicy = TwinPolicy()
    quality: QualityPolicy = QualityPolicy()

    @property
    def table(self) -> TableSchema:
        """The schema alone, without who keeps it and how its twin is made."""
        return TableSchema(**{name: getattr(self, name) for name in TableSchema.model_fields})


class Project(Closed):
    """policies/projects/ID.yaml"""

    title: str
    lay_summary: str
    purpose: str
    public_benefit: str
    legal_basis: str
    agreement: str = ""
    starts: date
    ends: date
    people: tuple[Identifier, ...] = Field(min_length=1)
    datasets: dict[Identifier, tuple[Name, ...]]
    # What this project may spend, for each population whose data it uses.
    allowances: dict[Identifier, Loss]
    # Of that, what it may reserve within one calendar year (UTC).
    yearly: dict[Identifier, Loss] = Field(default_factory=dict)
    run: RunRule | None = None
    failure_told: FailureTold | None = None
    automatic_epsilon: float | None = Field(default=None, ge=0)
    disclosure: Disclosure | None = None
    # In the place of the area's queue.per_project.
    at_once: int | None = Field(default=None, ge=1)


class Person(Closed):
    name: str
    role: Role
    accreditation: str = ""
    accredited_until: date
    # Where notices are sent, if the area sends any.
    email: Address | None = None
    # What the area's JupyterHub calls this person.
    hub: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class People(Closed):
    """policies/people.yaml"""

    people: dict[Identifier, Person]


class Policies(Closed):
    """All files together, as applied."""

    area: Area
    populations: dict[Identifier, Population]
    datasets: dict[Identifier, Dataset]
    projects: dict[Identifier, Project]
    people: dict[Identifier, Person]


class Problem(Closed):
    """Why a set of policies cannot be applied: the file, the path of keys in it, the reason."""

    file: str
    path: tuple[str | int, ...]
    reason: str


def check(policies: Policies) -> list[Problem]:
    """What no single file can see: references that lead nowhere, and projects laxer than the area."""
    found: list[Problem] = []
    for name, population in policies.populations.items():
        found += _check_population(name, population)
    for name, dataset in policies.datasets.items():
        found += _check_dataset(f"datasets/{name}.yaml", dataset, policies.populations)
        for path, reason in quality.problems(dataset, dataset.quality, policies.datasets):
            found.append(Problem(file=f"datasets/{name}.yaml", path=("quality", *path), reason=reason))
        found += _check_people_of(name, dataset, policies.datasets)
    found += _check_hub_names(policies.people)
    for name in unprotected(policies):
        reason = f"isolation is {policies.area.sandbox.isolation} (area.yaml): only datasets marked `public: true` may be here"
        found.append(Problem(file=f"datasets/{name}.yaml", path=("public",), reason=reason))
    for name, project in policies.projects.items():
        found += _check_project(f"projects/{name}.yaml", project, policies)
    return found


def unprotected(policies: Policies) -> list[str]:
    """The datasets that the area's isolation is too weak for."""
    if policies.area.sandbox.isolation is Isolation.FULL:
        return []
    return [name for name, dataset in policies.datasets.items() if not dataset.public]


def _check_hub_names(people: Mapping[str, Person]) -> list[Problem]:
    """A Hub's name is one person's."""
    taken: dict[str, str] = {}
    found = []
    for name, person in people.items():
        if person.hub is not None and taken.setdefault(person.hub, name) != name:
            reason = f"this is {taken[person.hub]} already"
            found.append(Problem(file="people.yaml", path=("people", name, "hub"), reason=reason))
    return found


def _check_population(name: str, population: Population) -> list[Problem]:
    file, place = "populations.yaml", ("populations", name)
    found = []
    pure = population.measure is Measure.PURE
    if pure != (population.lifetime.delta == 0):
        reason = "a population kept in pure epsilon has delta 0" if pure else "zCDP needs a delta greater than 0"
        found.append(Problem(file=file, path=(*place, "lifetime", "delta"), reason=reason))
    if population.yearly is not None:
        found += _check_yearly(file, (*place, "yearly"), population.yearly, population.lifetime)
    return found


def _check_yearly(file: str, place: tuple[str, ...], yearly: Loss, whole: Loss) -> list[Problem]:
    """A yearly cap is part of a budget or allowance: of its delta, and no larger than it."""
    found = []
    if yearly.delta != whole.delta:
        reason = f"a yearly cap is kept at its population's delta, {whole.delta:g}"
        found.append(Problem(file=file, path=(*place, "delta"), reason=reason))
    for part in ("epsilon", "keys_delta"):
        if getattr(yearly, part) > getattr(whole, part):
            reason = f"more than the {getattr(whole, part):g} that there is for all years"
            found.append(Problem(file=file, path=(*place, part), reason=reason))
    return found


def _check_dataset(file: str, dataset: Dataset, populations: Mapping[str, Population]) -> list[Problem]:
    found = []
    if dataset.population not in populations:
        found.append(Problem(file=file, path=("population",), reason="no such population in populations.yaml"))
    known = populations.get(dataset.population)
    pure = known is not None and known.measure is Measure.PURE
    wrong = problems(dataset.twin, dataset.table, pure=pure)
    return found + [Problem(file=file, path=("twin", key), reason=reason) for key, reason in wrong]


def _check_people_of(name: str, dataset: Dataset, datasets: Mapping[str, Dataset]) -> list[Problem]:
    """A twin has the people of another of the same population that has its own."""
    if dataset.twin.people_of is None:
        return []
    other = datasets.get(dataset.twin.people_of)
    if other is None or other is dataset or other.population != dataset.population or other.twin.people_of is not None:
        reason = "another dataset of the same population, whose twin has people of its own"
    elif not same_people(dataset.table, other.table):
        reason = f"the person's field of {dataset.twin.people_of} is declared differently"
    else:
        return []
    return [Problem(file=f"datasets/{name}.yaml", path=("twin", "people_of"), reason=reason)]


def _check_project(file: str, project: Project, policies: Policies) -> list[Problem]:
    found = []
    if not project.starts < project.ends:
        found.append(Problem(file=file, path=("ends",), reason="a project must end after it starts"))
    for i, person in enumerate(project.people):
        if person not in policies.people:
            found.append(Problem(file=file, path=("people", i), reason="no such person in people.yaml"))
        elif policies.people[person].role is not Role.RESEARCHER:
            found.append(Problem(file=file, path=("people", i), reason="only a researcher can be in a project"))
    for dataset, columns in project.datasets.items():
        found += _check_columns(file, project, dataset, columns, policies)
    for population, allowed in project.allowances.items():
        known = policies.populations.get(population)
        if known is None:
            reason = "no such population in populations.yaml"
            found.append(Problem(file=file, path=("allowances", population), reason=reason))
        elif known.lifetime.delta != allowed.delta:
            reason = f"an allowance is kept at its population's delta, {known.lifetime.delta:g}"
            found.append(Problem(file=file, path=("allowances", population, "delta"), reason=reason))
    for population, yearly in project.yearly.items():
        if population not in project.allowances:
            reason = "a yearly cap without an allowance for the population"
            found.append(Problem(file=file, path=("yearly", population), reason=reason))
        else:
            found += _check_yearly(file, ("yearly", population), yearly, project.allowances[population])
    return found + _check_strictness(file, project, policies.area)


def _check_columns(
    file: str, project: Project, name: str, columns: tuple[str, ...], policies: Policies
) -> list[Problem]:
    dataset = policies.datasets.get(name)
    if dataset is None:
        return [Problem(file=file, path=("datasets", name), reason="no such dataset in datasets/")]
    declared = {f.name for f in dataset.fields}
    found = [
        Problem(file=file, path=("datasets", name, i), reason=f"{column!r} is not a field of {name}")
        for i, column in enumerate(columns)
        if column not in declared
    ]
    if dataset.population not in project.allowances:
        reason = f"an allowance for population {dataset.population!r} is needed to use {name}"
        found.append(Problem(file=file, path=("allowances",), reason=reason))
    return found


def _check_strictness(file: str, project: Project, area: Area) -> list[Problem]:
    found = []
    if project.automatic_epsilon is not None and project.automatic_epsilon > area.review.automatic_epsilon:
        found.append(Problem(file=file, path=("automatic_epsilon",), reason="laxer than the area's review rule"))
    if project.failure_told is not None and project.failure_told.laxity > area.failure_told.laxity:
        found.append(Problem(file=file, path=("failure_told",), reason="laxer than the area's rule"))
    mine = project.disclosure
    # What a project does not say is the area's (Disclosure.stricter); what it says may not be laxer.
    found += [
        Problem(file=file, path=("disclosure", name), reason="laxer than the area's rule")
        for name in (sorted(mine.model_fields_set) if mine is not None else ())
        if getattr(area.disclosure.stricter(mine), name) != getattr(mine, name)
    ]
    return found
