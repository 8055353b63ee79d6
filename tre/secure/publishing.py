"""Twins as published things: who may have which, and the package that they get.

Guarantees: a researcher gets the twins of their projects' datasets, with their projects' columns. A dataset's whole twin goes to
anybody who signs in only where the policy says `public` *and* the file that is there says that it learnt nothing: a policy
that changed after a twin was made opens nothing. Whatever goes out is signed. An admin who publishes a twin that learnt
from rows gives a reason, which is recorded: the loss is paid for, whom it is shown to is still a decision.
Not here: what is in a package (data.twin_package), making twins (data.registry).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tre import archive
from tre.errors import Conflict, NotFound, PolicyError
from tre.messages import TwinOffer
from tre.rules import permissions
from tre.rules.datapackage import Described
from tre.rules.policy import Dataset, Policies
from tre.secure import audit
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry

# Loading pyarrow takes a moment that most commands need not wait for.
if TYPE_CHECKING:
    from tre.secure.data.twin_file import Label
    from tre.secure.data.twin_package import Signer

# A larger twin goes by folder: an archive is made in memory.
MOST_VALUES = 20_000_000


class Publishing:
    def __init__(self, context: Context, registry: Registry) -> None:
        self.context, self.registry = context, registry

    def offers(self, policies: Policies, person: str) -> list[TwinOffer]:
        """The twins that the person may have."""
        found = []
        for name, dataset in policies.datasets.items():
            label = _label(self.registry.twin(name))
            columns = self._columns(policies, person, name, label)
            if label is not None and columns:
                found.append(
                    TwinOffer(
                        id=name, title=dataset.title, description=dataset.description, licence=dataset.licence,
                        tier=label.tier, made=label.made, learnt=label.learnt, epsilon=label.epsilon, columns=columns,
                        public=_public(dataset, label),
                    )
                )  # fmt: skip
        return found

    def package(self, policies: Policies, person: str, name: str, *, column: bool = False) -> bytes:
        """The twin as one archive. Raises NotFound for what the person may not have, as for what is not there."""
        twin = self.registry.twin(name)
        columns = self._columns(policies, person, name, _label(twin))
        if not columns:
            raise NotFound(
                "dataset_unknown", f"There is no twin {name[:80]!r} for you.", "List them: tre datasets --twins"
            )
        with self._written(policies, name, twin, columns, column=column, most=MOST_VALUES) as (folder, _):
            return archive.pack(f"{name[:50]}-synthetic", {p.name: p.read_bytes() for p in folder.iterdir()})

    def publish(
        self,
        name: str,
        target: Path,
        *,
        reason: str | None,
        column: bool = False,
        replica: tuple[str, Path] | None = None,
    ) -> dict[str, Any]:
        """The whole twin, as a folder or, by its name, a ZIP archive; recorded. `replica`: instead one that was approved, and its file
        (Replicas.approved)."""
        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
        if name not in policies.datasets:
            raise PolicyError("dataset_unknown", f"No policy declares {name[:80]!r}.", "See policies/datasets.")
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise Conflict("folder_not_empty", f"{target} holds something else.", "Name a folder or file that is new.")
        twin = replica[1] if replica is not None else self.registry.twin(name)
        label, columns = _label(twin), tuple(f.name for f in policies.datasets[name].fields)
        if label is not None and not label.learnt_nothing and not (reason or "").strip():
            raise PolicyError(
                "reason_missing",
                "This twin learnt from real rows: that it is published is a decision.",
                f'Say why: tre-admin twin {name} --publish FOLDER --reason "…"',
            )
        zipped = target.suffix == ".zip"
        most = MOST_VALUES if zipped else None
        with self._written(policies, name, twin, columns, column=column, most=most) as (folder, statement):
            files = sorted(p.name for p in folder.iterdir())
            if zipped:
                target.write_bytes(
                    archive.pack(f"{name[:50]}-synthetic", {n: (folder / n).read_bytes() for n in files})
                )
            else:
                shutil.copytree(folder, target, dirs_exist_ok=True)
                target.chmod(0o755)  # the folder it was written in is closed to others; this one is not for us alone
        label_said = statement["label"]
        detail = {"tier": label_said["tier"], "files": statement["files"], "reason": reason or ""}
        if replica is not None:
            detail["replica"] = replica[0]
        with self.context.database.write() as connection:
            audit.record(
                connection, at=self.context.now(), person="admin", event="twin.published", subject=name, detail=detail
            )
        return {"dataset": name, "published": str(target), "files": files, "twin": label_said}

    @contextmanager
    def _written(
        self, policies: Policies, name: str, twin: Path, columns: tuple[str, ...], *, column: bool, most: int | None
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The package's folder, for a while."""
        from tre.secure.data import twin_package

        if not twin.is_file():
            raise NotFound("twin_missing", f"{name!r} has no twin yet.", f"tre-admin twin {name}")
        about = _described(name, policies.datasets[name], columns)
        rows = twin_package.described(twin, about, column=column)[0].rows
        if most is not None and rows * len(columns) > most:
            raise Conflict(
                "twin_too_large", "This twin is too large for one archive.", f"tre-admin twin {name} --publish FOLDER"
            )
        folder = Path(tempfile.mkdtemp(prefix="twin-", dir=self.context.area.folder("scratch")))
        try:
            yield folder, twin_package.write(twin, about, folder, column=column, signer=self._signer(policies))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _signer(self, policies: Policies) -> Signer:
        from tre.secure.data.twin_package import Signer

        area = self.context.area
        return Signer(area=policies.area.title, key=area.public_key, sign=area.sign)

    def _columns(self, policies: Policies, person: str, name: str, label: Label | None) -> tuple[str, ...]:
        """All of them of a public twin; else the widest set that one of the person's projects has; or none."""
        dataset = policies.datasets.get(name)
        if dataset is None or label is None:
            return ()
        if _public(dataset, label):
            return tuple(f.name for f in dataset.fields)
        mine = permissions.projects_of(policies, person)
        return max((policies.projects[p].datasets.get(name, ()) for p in mine), key=len, default=())


def _label(twin: Path) -> Label | None:
    from tre.secure.data.twin_file import read_label

    return read_label(twin) if twin.is_file() else None


def _public(dataset: Dataset, label: Label) -> bool:
    return dataset.twin.public and label.learnt_nothing


def _described(name: str, dataset: Dataset, columns: tuple[str, ...]) -> Described:
    return Described(
        id=name, title=dataset.title, description=dataset.description.strip(), source=dataset.source,
        licence=dataset.licence, steward=dataset.steward, schema=dataset.table, columns=columns, rows=0,
    )  # fmt: skip
