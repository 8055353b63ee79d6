"""Which engine the policies name: one for each lane, so that a lane's sandboxes are its own thread's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tre.rules.policy import Engine as EnginePolicy
from tre.rules.policy import SlurmEngine
from tre.secure.jobs.engine import Engine
from tre.secure.jobs.local import Local


def for_runs(policy: EnginePolicy, jobs: Path, worker: str) -> Callable[[], Engine]:
    """Makes engines for lanes of runs."""
    if isinstance(policy, SlurmEngine):
        from tre.secure.jobs.slurm import Cluster, Slurm

        cluster = Cluster(policy)
        return lambda: Slurm(cluster)
    return lambda: Local(jobs, worker)
