"""Replicas: made inside the area, looked at by output checkers, published when two of them approved these very rows.

Guarantees: no replica is made that the dataset's policy does not allow. Its rows and figures are derived from real rows without
noise: they are files and rows of the area, shown to output checkers alone (each look is recorded), and handed out by `publish`
only, after two checkers, accredited on the day of their vote, approved rows with this SHA-256, and while the policy still allows
it. A vote stands, and it is hidden from everybody else, admins too, until both are cast. A replica is never what a project sees,
or what a rehearsal runs on: its file is not the dataset's twin.
Not here: modelling (data.twin_replica), and what a package looks like (data.twin_package).
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, NotAllowed, NotFound, PolicyError
from tre.rules import permissions
from tre.rules.canonical import digest_bytes, digest_stream
from tre.rules.policy import Policies, Role
from tre.rules.replica import TIER, Choice, Evidence, ReplicaInfo, ReplicaState, ReplicaVote, ReplicaWaiting, state
from tre.secure import audit, ledger
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import tables

t, v = tables.replicas, tables.replica_votes


class Replicas:
    def __init__(self, context: Context, registry: Registry) -> None:
        self.context, self.registry = context, registry

    # The data controller's side

    def propose(self, name: str, *, person: str, reason: str) -> dict[str, Any]:
        """Make one and put it before the checkers. Nothing of it is told but its name."""
        from tre.secure.data import twin_replica
        from tre.secure.data.twin_file import Label, write

        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
            version = self._allowed(connection, policies, name, person, reason)
        dataset, seed, replica = policies.datasets[name], secrets.randbelow(2**31), f"rep-{secrets.token_hex(4)}"
        frame, evidence = twin_replica.make(
            self.registry.rows(name, version), dataset.table, dataset.twin, seed=seed,
            scratch=self.context.area.folder("scratch"),
        )  # fmt: skip
        label = Label(
            dataset=name, tier=TIER, made=self.context.now()[:10], generator=twin_replica.GENERATOR, seed=None,
            epsilon=None, delta=None, rho_units=0, learnt=twin_replica.LEARNT, version=version,
        )  # fmt: skip
        file = self._file(name, replica)
        try:
            sha256, at = write(frame, dataset.table, label, file), self.context.now()
            with self.context.database.write() as connection:
                connection.execute(
                    t.insert().values(
                        id=replica, dataset=name, version=version, rows=len(frame), sha256=sha256, person=person, made_at=at,
                        label=json.dumps(vars(label)), evidence=evidence.model_dump_json(), reason=reason,
                    )
                )  # fmt: skip
                detail = {"dataset": name, "sha256": sha256}
                audit.record(connection, at=at, person=person, event="replica.proposed", subject=replica, detail=detail)
        except BaseException:  # nobody would know of the file, and no backup should keep it
            file.unlink(missing_ok=True)
            raise
        return {"replica": replica, "dataset": name, "state": ReplicaState.IN_REVIEW.value}

    def _allowed(self, connection: sa.Connection, policies: Policies, name: str, person: str, reason: str) -> str:
        permissions.need_role(permissions.person(policies, person, self.context.today()), Role.ADMIN)
        if name not in policies.datasets:
            raise PolicyError("dataset_unknown", f"No policy declares {name[:80]!r}.", "See policies/datasets.")
        if not policies.datasets[name].twin.replica:
            raise _not_allowed(name)
        if not reason.strip():
            raise PolicyError("reason_missing", "Output checkers are told why.", 'Say why: --reason "…"')
        return self.registry.version(connection, name)

    @contextmanager
    def approved(self, name: str, replica: str) -> Iterator[Path]:
        """For a while, a copy of a replica of this dataset that two checkers approved: the copy has the bytes that they approved,
        whatever becomes of the file. Raises Conflict, also in a restored area, which may have forgotten a *no*."""
        with self.context.database.read() as connection:
            ledger.need_whole(connection)
            row, dataset = self._row(connection, replica), policy_files.current(connection).datasets.get(name)
            if row.dataset != name or _state(self._votes(connection, replica)) is not ReplicaState.APPROVED:
                raise Conflict(
                    "replica_not_approved",
                    f"There is no replica {replica[:40]!r} of {name[:80]!r} that two output checkers approved.",
                    "See what they said: tre-admin replicas",
                )
        if dataset is None or not dataset.twin.replica:
            raise _not_allowed(name)
        with tempfile.TemporaryDirectory(prefix="replica-", dir=self.context.area.folder("scratch")) as folder:
            copy = Path(folder) / "rows.parquet"
            shutil.copyfile(self._there(row), copy)
            with copy.open("rb") as stream:
                _need_same(row, digest_stream(stream))
            yield copy

    def all(self) -> list[dict[str, Any]]:
        """What there is, newest first, without a figure of any."""
        with self.context.database.read() as connection:
            rows = connection.execute(sa.select(t).order_by(t.c.made_at.desc(), t.c.id)).all()
            return [self._told(connection, r) for r in rows]

    def _told(self, connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
        votes = self._votes(connection, row.id)
        decided = _state(votes)
        comments = [c.comment for c in votes if c.comment and decided is not ReplicaState.IN_REVIEW]
        return {
            "replica": row.id, "dataset": row.dataset, "made": row.made_at, "state": decided.value, "comments": comments,
        }  # fmt: skip

    # The output checkers' side

    def waiting(self, person: str) -> list[ReplicaWaiting]:
        """What this checker may vote on, oldest first; nothing that is found in the rows, as this is no recorded look."""
        with self.context.database.read() as connection:
            policies = self._checker(connection, person)
            rows = connection.execute(sa.select(t).where(t.c.person != person).order_by(t.c.made_at, t.c.id)).all()
            votes = {r.id: self._votes(connection, r.id) for r in rows}
            return [
                ReplicaWaiting(
                    id=r.id, dataset=r.dataset, title=_title(policies, r.dataset), reason=r.reason, made=r.made_at
                )
                for r in rows
                if _state(votes[r.id]) is ReplicaState.IN_REVIEW and person not in [c.person for c in votes[r.id]]
            ]

    def look(self, person: str, replica: str) -> ReplicaInfo:
        """Its figures; recorded as a view."""
        info, row = self._seen(person, replica, "replica.viewed")
        self._bytes(row)
        return info

    def rows(self, person: str, replica: str) -> bytes:
        """Its Parquet file; recorded as a view."""
        info, row = self._seen(person, replica, "replica.rows_viewed")
        if info.state is not ReplicaState.IN_REVIEW:
            raise Conflict("not_in_review", f"This replica is {info.state.value}.", "See what waits: tre replicas")
        return self._bytes(row)

    def vote(self, person: str, replica: str, vote: ReplicaVote) -> ReplicaInfo:
        """Cast it; the second one decides."""
        if vote.choice is Choice.REJECT and not vote.comment.strip():
            raise PolicyError("comment_missing", "Rejecting needs a comment.", 'Say why: --comment "…"')
        at = self.context.now()
        with self.context.database.write() as connection:
            policies, row = self._checker(connection, person), self._row(connection, replica)
            self._independent(row, person)
            votes = self._votes(connection, replica)
            permissions.need_first_vote(person, [c.person for c in votes])
            if _state(votes) is not ReplicaState.IN_REVIEW:
                raise Conflict("not_in_review", "This replica is decided.", "See what waits: tre replicas")
            if vote.sha256 != row.sha256:
                raise Conflict("rows_changed", "These are not the rows of this replica.", f"tre replica {replica}")
            self._bytes(row)
            connection.execute(
                v.insert().values(replica=replica, person=person, choice=vote.choice, comment=vote.comment, at=at)
            )
            detail = {"choice": vote.choice.value, "sha256": row.sha256}
            audit.record(connection, at=at, person=person, event="replica.voted", subject=replica, detail=detail)
            return self._info(connection, policies, row, person)

    def _seen(self, person: str, replica: str, event: str) -> tuple[ReplicaInfo, sa.Row[Any]]:
        with self.context.database.write() as connection:
            policies, row = self._checker(connection, person), self._row(connection, replica)
            self._independent(row, person)
            detail = {"sha256": row.sha256}
            audit.record(connection, at=self.context.now(), person=person, event=event, subject=replica, detail=detail)
            return self._info(connection, policies, row, person), row

    def _checker(self, connection: sa.Connection, person: str) -> Policies:
        policies = policy_files.current(connection)
        permissions.need_role(permissions.person(policies, person, self.context.today()), Role.CHECKER)
        return policies

    def _independent(self, row: sa.Row[Any], person: str) -> None:
        if row.person == person:
            raise NotAllowed(
                "not_independent", "Nobody decides on a replica of their own.", "Leave it to another checker."
            )

    def _info(self, connection: sa.Connection, policies: Policies, row: sa.Row[Any], person: str) -> ReplicaInfo:
        votes = self._votes(connection, row.id)
        decided = _state(votes)
        mine = [Choice(c.choice) for c in votes if c.person == person]
        shown = [c for c in votes if c.person == person or decided is not ReplicaState.IN_REVIEW]
        return ReplicaInfo(
            id=row.id, dataset=row.dataset, title=_title(policies, row.dataset), rows=row.rows, sha256=row.sha256, reason=row.reason,
            made=row.made_at, state=decided, evidence=Evidence.model_validate_json(row.evidence),
            my_choice=mine[0] if mine else None, comments=tuple(c.comment for c in shown if c.comment),
        )  # fmt: skip

    def _row(self, connection: sa.Connection, replica: str) -> sa.Row[Any]:
        found = connection.execute(sa.select(t).where(t.c.id == replica)).first()
        if found is None:
            raise NotFound("replica_unknown", f"There is no replica {replica[:40]!r}.", "List them: tre replicas")
        return found

    def _votes(self, connection: sa.Connection, replica: str) -> list[sa.Row[Any]]:
        return list(connection.execute(sa.select(v).where(v.c.replica == replica).order_by(v.c.at)).all())

    def _file(self, dataset: str, replica: str) -> Path:
        """Beside the rows that it is as secret as."""
        return self.context.area.folder("data") / dataset / f"{replica}.SYNTHETIC.parquet"

    def _there(self, row: sa.Row[Any]) -> Path:
        path = self._file(row.dataset, row.id)
        if not path.is_file():
            _need_same(row, "")
        return path

    def _bytes(self, row: sa.Row[Any]) -> bytes:
        """Its file: what is shown, voted on and handed out are the same bytes."""
        found = self._there(row).read_bytes()
        _need_same(row, digest_bytes(found))
        return found


def _state(votes: list[sa.Row[Any]]) -> ReplicaState:
    return state(Choice(c.choice) for c in votes)


def _need_same(row: sa.Row[Any], sha256: str) -> None:
    if sha256 != row.sha256:
        raise Conflict("replica_changed", "The file of this replica is not the one that was made.", "Propose one anew.")


def _not_allowed(name: str) -> PolicyError:
    return PolicyError(
        "replica_not_allowed",
        f"The policy of {name} allows no replica: rows modelled on real people without noise.",
        "If there is to be one, the data controller writes twin.replica: true in the dataset's policy.",
    )


def _title(policies: Policies, dataset: str) -> str:
    return policies.datasets[dataset].title if dataset in policies.datasets else dataset
