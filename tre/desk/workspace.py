"""Which world a notebook is in, and what lies there: the one place where the three worlds differ.

Guarantees: the world is read from the environment, never from the notebook; at the desk only twins and released values
exist; inside a sandbox the manifest says what was put there. What a notebook asks for is written down in order
(`Emitted`), and that record is a claim which the secure side checks again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tre.desk.store import Bundle, Store
from tre.errors import NotFound, RequestError, TreError
from tre.messages import (
    DatasetInfo,
    Emitted,
    EmittedEstimate,
    EmittedOutput,
    EmittedRequest,
    Manifest,
    OutputKind,
    Released,
    ReleasedEstimate,
    ReleasedOutput,
    World,
)
from tre.rules.balances import Balance
from tre.statistics.blocks import Estimate
from tre.statistics.declared import Declared
from tre.statistics.request import Request


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """An output as a notebook proposes it."""

    name: str
    kind: OutputKind
    context: str
    content: bytes
    declared: Declared | None = None
    data: str | None = None


class Workspace(Protocol):
    world: World

    def info(self, dataset: str) -> DatasetInfo: ...
    def rows(self, dataset: str) -> Path: ...
    def released(self, request: Request) -> tuple[Released, bool] | None: ...
    def released_output(self, name: str) -> tuple[ReleasedOutput, Bundle] | None: ...
    def balances(self, population: str) -> list[Balance]: ...
    def emit_request(self, name: str, request: Request) -> None: ...
    def emit_output(self, proposed: Proposed) -> None: ...
    def known(self) -> list[DatasetInfo]: ...
    def released_estimate(self, name: str, estimate: Estimate) -> tuple[ReleasedEstimate, bool] | None: ...
    def emit_estimate(self, name: str, estimate: Estimate, claimed: list[float]) -> None: ...


@functools.cache
def current() -> Workspace:
    """The workspace of this process: a sandbox when the supervisor says so, else the desk."""
    if os.environ.get("TRE_WORLD") == "box":
        box = Box(Path(os.environ["TRE_DATA"]), Path(os.environ["TRE_OUTBOX"]))
        if box.world is World.BLOCK:
            from tre.desk.block import Block

            return Block(box.data, box.outbox)
        return box
    return Desk(Store.default())


class Desk:
    """Twins and released bundles in the person's own store; nothing is emitted."""

    world = World.DESK

    def __init__(self, store: Store) -> None:
        self.store = store

    def info(self, dataset: str) -> DatasetInfo:
        return self.store.info(dataset) or self._fetch(dataset)

    def rows(self, dataset: str) -> Path:
        path = self.store.twin(dataset)
        if path is None:
            self._fetch(dataset)
        return path or self.store.twin_path(dataset)

    def _fetch(self, dataset: str) -> DatasetInfo:
        """From the gateway, when a gateway is known; so that the first call of a new notebook just works."""
        from tre.desk.connect import configured

        client = configured()
        if client is None:
            raise NotFound(
                "twin_missing",
                f"The twin of {dataset[:80]!r} is not here, and this desk knows no gateway.",
                f"Run `tre login URL` once, then `tre twin {dataset[:80]}`.",
            )
        with closing(client):
            info = client.dataset(dataset)
            self.store.save_twin(info, client.twin(dataset))
        return info

    def known(self) -> list[DatasetInfo]:
        """The datasets whose twins are here."""
        return self.store.infos()

    def balances(self, population: str) -> list[Balance]:
        """Of the person's projects that have an allowance for this population; none where no gateway answers."""
        from tre.desk.connect import configured

        client = configured()
        if client is None:
            return []
        with closing(client):
            try:
                found = [client.budget(project) for project in client.me().projects]
            except TreError:  # a price is worth having without a connection
                return []
        mine = [b for b in found if any(a.account == population for a in b)]
        return mine[0] if len(mine) == 1 else []

    def released(self, request: Request) -> tuple[Released, bool] | None:
        return self.store.released(request)

    def released_output(self, name: str) -> tuple[ReleasedOutput, Bundle] | None:
        return self.store.released_output(name)

    def emit_request(self, name: str, request: Request) -> None:
        pass

    def emit_output(self, proposed: Proposed) -> None:
        pass

    def released_estimate(self, name: str, estimate: Estimate) -> tuple[ReleasedEstimate, bool] | None:
        return self.store.released_estimate(name, estimate)

    def emit_estimate(self, name: str, estimate: Estimate, claimed: list[float]) -> None:
        pass


class Box:
    """A sandbox: /data holds the manifest and one file a dataset, /outbox takes what the notebook asks for."""

    def __init__(self, data: Path, outbox: Path) -> None:
        self.manifest = Manifest.model_validate_json((data / "manifest.json").read_bytes())
        self.world = self.manifest.world
        self.data, self.outbox = data, outbox
        self.requests: list[EmittedRequest] = []
        self.outputs: list[EmittedOutput] = []
        self.estimates: list[EmittedEstimate] = []
        self.opened: dict[str, None] = {}

    def info(self, dataset: str) -> DatasetInfo:
        try:
            found = self.manifest.datasets[dataset]
        except KeyError:
            raise _no_dataset(dataset, self.manifest.datasets) from None
        self.opened[dataset] = None
        return found

    def rows(self, dataset: str) -> Path:
        return self.data / f"{dataset}.parquet"

    def known(self) -> list[DatasetInfo]:
        return list(self.manifest.datasets.values())

    def balances(self, population: str) -> list[Balance]:  # noqa: ARG002  # a sandbox knows no accounts
        return []

    def released(self, request: Request) -> tuple[Released, bool] | None:
        found = self.manifest.released.get(request.digest)
        return (found, True) if found is not None else None

    def released_output(self, name: str) -> None:  # noqa: ARG002  # in a sandbox no output was released yet
        return None

    def emit_request(self, name: str, request: Request) -> None:
        self._unused(name)
        self.requests.append(EmittedRequest(name=name, request=request))
        self._write()

    def emit_output(self, proposed: Proposed) -> None:
        self._unused(proposed.name)
        file = f"output-{len(self.outputs)}.{proposed.kind.suffix}"
        (self.outbox / file).write_bytes(proposed.content)
        self.outputs.append(
            EmittedOutput(
                name=proposed.name, kind=proposed.kind, context=proposed.context, file=file,
                declared=proposed.declared, data=proposed.data,
            )
        )  # fmt: skip
        self._write()

    def released_estimate(self, name: str, estimate: Estimate) -> None:  # noqa: ARG002  # nor was an estimate
        return None

    def emit_estimate(self, name: str, estimate: Estimate, claimed: list[float]) -> None:
        self._unused(name)
        self.estimates.append(EmittedEstimate(name=name, estimate=estimate, values=tuple(claimed)))
        self._write()

    def _unused(self, name: str) -> None:
        if name in {r.name for r in self.requests} | {o.name for o in self.outputs} | {e.name for e in self.estimates}:
            raise RequestError(
                "name_taken", f"Something named {name!r} was already asked for.", "Give each release its own name."
            )

    def _write(self) -> None:
        emitted = Emitted(
            requests=tuple(self.requests),
            outputs=tuple(self.outputs),
            estimates=tuple(self.estimates),
            opened=tuple(self.opened),
        )
        (self.outbox / "emitted.json").write_bytes(emitted.model_dump_json().encode())


def _no_dataset(dataset: str, there: Iterable[str]) -> NotFound:
    return NotFound(
        "dataset_unknown",
        f"The project has no dataset {dataset[:80]!r}.",
        f"It has: {', '.join(sorted(there)) or 'none'}. An admin adds datasets to the project's policy.",
    )
