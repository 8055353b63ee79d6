"""Estimates over blocks: planned from what a rehearsal asked for, and drawn from what the blocks handed out.

Guarantees: a plan's estimates are a function of the rehearsal on the twin, the submission and the policies. Drawing is
charged first, durably; then the blocks' places are read, combined with noise of the planned loss, and stored, once, in
the transaction that marks the charge released. What a block handed out goes to the combiner and nowhere else; which
blocks said nothing is not told. A failure after the spending is told in one way only, as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from tre.errors import RequestError
from tre.messages import BlockPlan, DatasetInfo, Emitted, Parameter, Plan, PlannedEstimate, ReleasedEstimate
from tre.rules.canonical import digest
from tre.rules.policy import Isolation, Measure, Policies
from tre.secure import ledger, ticks
from tre.secure.context import Context
from tre.secure.jobs import block_store
from tre.secure.jobs.leases import Hold
from tre.statistics import blocks_combine as combining
from tre.statistics.blocks import Aggregator, Estimate
from tre.statistics.noise import OPENDP, Z_GAUSSIAN, Z_LAPLACE

Report = Callable[[str, str], None]

# Of the twin's blocks, by estimate: how much each of its numbers differs, and how far it is from the whole twin's.
Told = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]

MAX_ESTIMATES = 20
# Rows a block below which most estimators are visibly biased.
FEW_ROWS, MANY_ROWS = 200, 500


# Planning


def block_plan(
    policies: Policies, infos: Mapping[str, DatasetInfo], emitted: Emitted, blocks: int | None
) -> BlockPlan | None:
    """Where and how blocks are run; None for a submission without them. Raises RequestError."""
    if blocks is None:
        if emitted.estimates:
            raise RequestError(
                "blocks_missing",
                "The notebook has an estimate over blocks, and its submission does not say into how many.",
                "Submit it with --blocks K, for instance 200.",
            )
        return None
    if not emitted.estimates:
        raise RequestError(
            "estimates_missing",
            "The submission asks for blocks, and the notebook has no estimate over them.",
            'Call tre.estimate("name", value, bounds=(low, high), epsilon=…), or leave --blocks out.',
        )
    if policies.area.sandbox.isolation is not Isolation.FULL:
        raise RequestError(
            "blocks_isolation",
            f"Isolation is {policies.area.sandbox.isolation} here: blocks could speak to each other, and one person change many.",
            "Ask an admin for full isolation, or use declared statistics.",
        )
    opened = sorted(set(emitted.opened) & set(infos))
    populations = {infos[name].population for name in opened}
    if len(populations) != 1:
        raise RequestError(
            "blocks_population",
            "The notebook opens datasets of several populations, or none: blocks are of one population's people.",
            "Open datasets about the same people alone.",
        )
    population = populations.pop()
    if emitted.outputs:
        raise RequestError(
            "blocks_outputs",
            "A notebook that runs on blocks never sees all rows, so it has no outputs for people to look at.",
            "Leave tre.output out, or propose outputs from another notebook.",
        )
    rules = policies.area.blocks
    if blocks == block_store.AUTO:
        blocks = _suggested(policies, population, emitted, [infos[name].size for name in opened])
    if blocks > rules.most:
        raise RequestError(
            "blocks_too_many", f"This area runs at most {rules.most} blocks for a notebook, and it would be {blocks}.",
            "Take fewer blocks, or a larger epsilon, which needs fewer.",
        )  # fmt: skip
    return BlockPlan(
        blocks=blocks, population=population, datasets=tuple(opened), seconds=rules.seconds,
        memory_mb=rules.memory_mb, lanes=policies.area.blocks_at_once, advice=_advice(infos, opened, blocks),
    )  # fmt: skip


def _suggested(policies: Policies, population: str, emitted: Emitted, sizes: list[int | None]) -> int:
    held = policies.populations[population]
    least = max(
        combining.least_blocks(e.estimate, e.estimate.units(held.lifetime.delta), pure=held.measure is Measure.PURE)
        for e in emitted.estimates
    )
    known = [size for size in sizes if size is not None]
    return comfortable(least, min(known) if len(known) == len(sizes) else 0, policies.area.blocks.most)


def comfortable(least: int, rows: int, most: int) -> int:
    """How many blocks to take: with just the least, one median in a hundred is far off. Twice or one and a half times as
    many, where that leaves rows enough in each (`rows`: of the smallest dataset, by declaration), and no more than `most`."""
    for blocks, enough in ((2 * least, MANY_ROWS), (least + least // 2, FEW_ROWS)):
        if rows // blocks >= enough and blocks <= most:
            return blocks
    return least


def _advice(infos: Mapping[str, DatasetInfo], opened: list[str], blocks: int) -> tuple[str, ...]:
    """From the declared sizes: what blocks so small do to estimates."""
    found = [
        f"{name} has about {size // blocks} rows a block: with fewer than {FEW_ROWS}, most estimators are biased, and the "
        "noise does not show it"
        for name in opened
        if (size := infos[name].size) is not None and size // blocks < FEW_ROWS
    ]
    return (*found, "what is estimated is what the notebook gives on one block: a model trained on so few rows")


def planned(
    connection: sa.Connection,
    policies: Policies,
    emitted: Emitted,
    blocks: BlockPlan,
    *,
    project: str,
    notebook: str,
    parameters: Mapping[str, Parameter],
    versions: Mapping[str, str],
    twin: Told,
) -> tuple[PlannedEstimate, ...]:
    """Raises RequestError: blocks_too_few, where an estimate cannot be had from so many blocks at its price."""
    if len(emitted.estimates) > MAX_ESTIMATES:
        raise RequestError(
            "plan_too_large", f"The notebook asks for more than {MAX_ESTIMATES} estimates.", "Ask for fewer at once."
        )
    held, found = policies.populations[blocks.population], []
    pure, delta = held.measure is Measure.PURE, held.lifetime.delta
    mine = {name: versions[name] for name in blocks.datasets}
    for item in emitted.estimates:
        e = item.estimate
        name = digest(
            {
                "estimate": e.model_dump(mode="json"), "name": item.name, "notebook": notebook,
                "parameters": dict(parameters), "blocks": blocks.blocks, "datasets": list(blocks.datasets),
                "columns": {d: sorted(policies.projects[project].datasets[d]) for d in blocks.datasets},
            }
        )  # fmt: skip
        units = e.units(delta)
        _enough(item.name, e, blocks.blocks, units, delta, pure)
        version = next(iter(mine.values())) if len(mine) == 1 else digest(mine)[:16]
        known = ledger.stored(connection, project=project, version=version, digest=name)
        found.append(
            PlannedEstimate(
                name=item.name, estimate=e, digest=name, rho_units=units, measure=held.measure,
                replayed=known is not None, least_blocks=combining.least_blocks(e, units, pure=pure),
                interval=_interval(e, blocks.blocks, units, pure),
                **_expected(e, blocks.blocks, units, pure), **_from_twin(e, blocks.blocks, units, pure, twin.get(item.name)),
            )
        )  # fmt: skip
    return tuple(found)


def _interval(e: Estimate, k: int, units: int, pure: bool) -> str:
    """Which interval there will be; where there is none, with how many blocks there would be one."""
    told = combining.used(e, k, units, pure=pure).interval
    if e.aggregator is not Aggregator.MEDIAN or combining.margin(e, k, units // e.size, pure=pure) is not None:
        return told
    enough = combining.interval_from(e, units, 10_000, pure=pure)
    return told if enough is None else f"{told}; from {enough} on there is one"


def _expected(e: Estimate, k: int, units: int, pure: bool) -> dict[str, float]:
    """What the noise does at 95 %, without knowing how much blocks differ."""
    scale = combining.used(e, k, units, pure=pure).scale
    if e.aggregator is Aggregator.MEDIAN:
        return {"ranks": round(3 * scale, 3)}  # exp(-3) is 5 %
    if e.aggregator is Aggregator.MEAN:
        return {"error": (Z_LAPLACE if pure else Z_GAUSSIAN) * scale}
    return {}


def _from_twin(
    e: Estimate, k: int, units: int, pure: bool, told: tuple[tuple[float, ...], tuple[float, ...]] | None
) -> dict[str, tuple[float, ...]]:
    if told is None:
        return {}
    spread, bias = told
    errors = [Z_GAUSSIAN * combining.expected_error(e, k, units, pure=pure, spread=s) for s in spread]
    return {"spread": spread, "bias": bias, "expected": tuple(errors)}


def _enough(name: str, e: Estimate, k: int, units: int, delta: float, pure: bool) -> None:
    least = combining.least_blocks(e, units, pure=pure)
    if k >= least:
        return
    raise RequestError(
        "blocks_too_few",
        f"{name!r} needs at least {least} blocks at epsilon {e.epsilon:g}; with {k} its noise would cover everything.",
        f"Submit it with --blocks {least} or more{_or_epsilon(e, k, delta, pure)}.",
    )


def _or_epsilon(e: Estimate, k: int, delta: float, pure: bool) -> str:
    """The least epsilon, of two decimals, at which so many blocks would do."""
    low, high = 0, 10_000
    while high - low > 1:
        centi = (low + high) // 2
        asked = e.model_copy(update={"epsilon": centi / 100})
        if combining.least_blocks(asked, asked.units(delta), pure=pure) <= k:
            high = centi
        else:
            low = centi
    return f", or ask for it at epsilon {high / 100:g}" if high < 10_000 else ""


# Drawing


class Estimates:
    def __init__(self, context: Context, report: Report) -> None:
        self.context, self.report = context, report

    def draw(self, entry: int, release: str, plan: Plan, planned: PlannedEstimate, hold: Hold) -> None:
        """A reserved charge becomes released, given back, or lost."""
        database, version = self.context.database, block_store.version(plan)
        with database.read() as connection:
            job = block_store.job_of(connection, release)
        with database.write() as connection:
            hold(connection)
            if ledger.stored(connection, project=plan.project, version=version, digest=planned.digest) is not None:
                ledger.give_back(connection, entry, at=ticks.moment(self.context, connection))
                return
            ledger.spend(connection, entry, at=self.context.now())
        try:
            with database.read() as connection:
                places = block_store.of_all(connection, job, plan, planned.name)
            value = _released(release, plan, planned, places)
        except Exception as error:  # whatever it was, it came after the spending
            self.report("check.failed", f"{release} {planned.name}: {type(error).__name__}")
            with database.write() as connection:
                hold(connection)
                ledger.lose(connection, entry, at=self.context.now())
            return
        with database.write() as connection:
            hold(connection)
            ledger.store(connection, entry, value.model_dump_json(), at=self.context.now())

    def forget(self, release: str) -> None:
        """What the blocks handed out has served."""
        with self.context.database.write() as connection:
            block_store.forget(connection, block_store.job_of(connection, release))


def _released(release: str, plan: Plan, planned: PlannedEstimate, places: list[tuple[int, ...]]) -> ReleasedEstimate:
    if plan.blocks is None:
        raise RuntimeError("a plan with estimates has blocks")
    e, units, pure = planned.estimate, planned.rho_units, planned.measure is Measure.PURE
    drawn = combining.combine(e, places, units=units, pure=pure)
    used = combining.used(e, len(places), units, pure=pure)
    return ReleasedEstimate(
        name=planned.name, estimate=e, digest=planned.digest, release=release, population=plan.blocks.population,
        datasets={name: plan.datasets[name] for name in plan.blocks.datasets}, blocks=plan.blocks.blocks,
        values=tuple(d.value for d in drawn), low=tuple(d.low for d in drawn), high=tuple(d.high for d in drawn),
        interval=used.interval, mechanism=used.mechanism, sensitivity=used.sensitivity, scale=used.scale,
        measure=planned.measure, rho_units=units, libraries={"opendp": OPENDP},
    )  # fmt: skip
