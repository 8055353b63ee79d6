"""What an attempt is, and the list of all of them.

An attempt is a function that returns when it got through and raises when it was stopped. It finds what it goes for in
its bait: the same names in the cage and in the control arm outside it, where each is to succeed. A new attempt is a
function with a decorator in the module of its subject; report, start of the gateway and documentation follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import SimpleNamespace as Bait
from typing import Any, TypeVar

__all__ = ["ATTEMPTS", "Attempt", "Bait", "Control", "Judge", "Row", "attempt", "table"]


class Control(StrEnum):
    """As whom it is made outside the cage."""

    ORDINARY = "the job's own user"
    NAMESPACE = "root of a throw-away user namespace"  # holds every capability there, and none over the machine


class Judge(StrEnum):
    """Who says whether it got through."""

    ITSELF = "itself"
    COLLECTOR = "the collector"  # it left something in the outbox under its own name: is that read?
    WITNESS = "a look from outside"  # it left something that must not be found outside afterwards
    SUPERVISOR = "the supervisor"  # it has a box to itself, and must not come to its end


Run = Callable[[Bait], None]
R = TypeVar("R", bound=Run)
Row = tuple[object, ...]  # name, what it does, and what the function gets before the bait


@dataclass(frozen=True, kw_only=True)
class Attempt:
    name: str
    does: str
    subject: str
    run: Run
    quick: bool = False  # part of the set at the start of every gateway
    control: Control = Control.ORDINARY
    judge: Judge = Judge.ITSELF
    open: str = ""  # why it may get through: known, and told in docs/security.md
    needs: str = ""  # the control group without which it may get through


ATTEMPTS: dict[str, Attempt] = {}


def attempt(
    does: str,
    *,
    name: str = "",
    quick: bool = False,
    control: Control = Control.ORDINARY,
    judge: Judge = Judge.ITSELF,
    open: str = "",
    needs: str = "",
) -> Callable[[R], R]:
    """Register a function; `name` is needed where one function makes several attempts."""

    def registered(run: R) -> R:
        module = getattr(run, "func", run).__module__.rpartition(".")[2]
        made = Attempt(
            name=name or getattr(run, "__name__", ""), does=does, subject=module, run=run, quick=quick, control=control, judge=judge,
            open=open, needs=needs,
        )  # fmt: skip
        if made.name in ATTEMPTS:
            raise ValueError(made.name)
        ATTEMPTS[made.name] = made
        return run

    return registered


def table(run: Callable[..., None], rows: Sequence[Row], *, quick: tuple[str, ...] = (), **how: Any) -> None:
    """One attempt a row, all by the same function."""
    for name, does, *arguments in rows:
        attempt(str(does), name=str(name), quick=name in quick, **how)(partial(run, *arguments))
