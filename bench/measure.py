"""Timings in rounds, and ratios within a round. Medians only: one interruption by another process moves no median."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Timing:
    """Seconds of one run; `cpu` is of all threads, None where the work is spread over processes that are not ours."""

    wall: float
    cpu: float | None = None


# One run of a thing in the round of this number.
Run = Callable[[int], Timing]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was run side by side, its timings by name in order of rounds, and facts worth a line (no ratios).

    `at` is the size, where the same things were run at several.
    """

    subject: str
    setting: str
    baseline: str
    timings: Mapping[str, list[Timing]]
    notes: Mapping[str, float | str] = field(default_factory=dict)
    at: float | None = None

    def wall(self, name: str) -> float:
        return median(t.wall for t in self.timings[name])

    def cpu(self, name: str) -> float | None:
        found = [t.cpu for t in self.timings[name] if t.cpu is not None]
        return median(found) if found else None

    def ratios(self, name: str) -> list[float]:
        """Of wall time to the baseline's, round by round."""
        return [t.wall / b.wall for t, b in zip(self.timings[name], self.timings[self.baseline], strict=True)]

    def ratio(self, name: str) -> float:
        return median(self.ratios(name))

    def cpu_ratio(self, name: str) -> float | None:
        pairs = zip(self.timings[name], self.timings[self.baseline], strict=True)
        found = [t.cpu / b.cpu for t, b in pairs if t.cpu is not None and b.cpu]
        return median(found) if found else None


def alternate(arms: Mapping[str, Run], repeats: int) -> dict[str, list[Timing]]:
    """Every arm once a round, another first each time; round 0 warms caches and is not counted."""
    names = list(arms)
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    for number in range(repeats + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            timing = arms[name](number)
            if number:
                timings[name].append(timing)
    return timings


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Run to its end from the repository: (seconds, stdout). What it printed is shown if it fails."""
    before = time.perf_counter()
    done = subprocess.run(
        arguments, cwd=ROOT, env=clean() | dict(environment or {}), capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - before
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def clean() -> dict[str, str]:
    """Our environment without what would lead a command to somebody's real gateway or desk."""
    return {k: v for k, v in os.environ.items() if not k.startswith("TRE_")}


def say(text: str) -> None:
    """Progress, for whoever waits; results go to stdout."""
    print(text, file=sys.stderr, flush=True)
