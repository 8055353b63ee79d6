"""Policy files: read, checked, compared, applied.

Guarantees: nothing is applied unless every file is right; a broken one is named by file, line, field and reason; YAML is
read with the safe loader, and a key written twice is an error. What was applied is stored whole, by digest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tre.errors import NotFound, PolicyError
from tre.rules.canonical import digest
from tre.rules.policy import Area, Dataset, Isolation, People, Policies, Populations, Project, check
from tre.rules.schema import NAME
from tre.secure.data import row_rules
from tre.secure.database import tables


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once and `on`, `no` are words, not booleans, as keys."""


def _unique_keys(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} is written twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_keys)


class _File:
    """One file: its text parsed, and where each of its keys stands."""

    def __init__(self, root: Path, path: Path) -> None:
        self.name = path.relative_to(root).as_posix()
        try:
            text = path.read_text("utf-8")
            self.tree = yaml.compose(text, Loader=_Loader)
            self.content = yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader, see above
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise _invalid([f"{self.name}, line {line}: {error.problem}"]) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise _invalid([f"{self.name}: it cannot be read as UTF-8 YAML"]) from None

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line of the deepest part of `path` that is there."""
        node, line = self.tree, 1
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line

    def parse(self, model: type[BaseModel]) -> tuple[Any, list[str]]:
        try:
            return model.model_validate(self.content), []
        except ValidationError as error:
            return None, [self.say(tuple(e["loc"]), _reason(e)) for e in error.errors(include_url=False)]

    def say(self, path: tuple[str | int, ...], reason: str) -> str:
        field = ".".join(map(str, path)) or "the file"
        return f"{self.name}, line {self.line(path)}, {field}: {reason}"


def _reason(found: ErrorDetails) -> str:
    """In words where a pattern would say it, since a column's name is what is first got wrong."""
    if found["type"] == "string_pattern_mismatch" and found.get("ctx", {}).get("pattern") == NAME:
        return "a name is of lower-case letters, digits and _, a letter first; name the data's column so, too"
    return found["msg"].removeprefix("Value error, ")


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def _invalid(problems: list[str]) -> PolicyError:
    return PolicyError(
        "policy_invalid",
        "The policies were not applied:\n  " + "\n  ".join(problems) + "\n",
        "Mend these places and apply again; nothing has changed.",
    )


def load(root: Path) -> Policies:
    """All files below `root`, checked one by one and together. Raises PolicyError listing every problem found."""
    if not root.is_dir():
        raise PolicyError("policy_missing", f"There is no folder {root}.", "Name the folder that holds area.yaml.")
    problems: list[str] = []
    files: dict[str, _File] = {}

    def one(name: str, model: type[BaseModel]) -> Any:
        if not (root / name).is_file():
            problems.append(f"{name}: the file is missing")
            return None
        files[name] = _File(root, root / name)
        value, found = files[name].parse(model)
        problems.extend(found)
        return value

    def many(folder: str, model: type[BaseModel]) -> dict[str, Any]:
        return {p.stem: one(f"{folder}/{p.name}", model) for p in sorted((root / folder).glob("*.yaml"))}

    area, populations, people = one("area.yaml", Area), one("populations.yaml", Populations), one("people.yaml", People)
    datasets, projects = many("datasets", Dataset), many("projects", Project)
    if problems:
        raise _invalid(problems)
    policies = Policies(
        area=area, populations=populations.populations, datasets=datasets, projects=projects, people=people.people
    )
    found = check(policies) + row_rules.problems(policies)
    if found:
        raise _invalid([files[p.file].say(p.path, p.reason) for p in found])
    return policies


def policy_digest(policies: Policies) -> str:
    return digest(policies.model_dump(mode="json"))


def current(connection: sa.Connection) -> Policies:
    """The policies in force. Raises NotFound before the first were applied."""
    found = latest(connection)
    if found is None:
        raise NotFound("policies_missing", "No policies were applied yet.", "tre-admin apply policies/")
    return found


def by_digest(connection: sa.Connection, wanted: str) -> Policies:
    """The policies that a plan was made and confirmed under, whatever was applied since."""
    t = tables.policies
    row = connection.execute(sa.select(t.c.content).where(t.c.digest == wanted).limit(1)).first()
    if row is not None:
        return Policies.model_validate_json(row.content)
    # Applied by an earlier version of tre, whose policies had fewer fields: since named by what they read as today.
    everything = connection.execute(sa.select(t.c.content).order_by(t.c.id.desc())).scalars()
    return next(p for p in map(Policies.model_validate_json, everything) if policy_digest(p) == wanted)


def latest(connection: sa.Connection) -> Policies | None:
    t = tables.policies
    row = connection.execute(sa.select(t.c.content).order_by(t.c.id.desc()).limit(1)).first()
    return Policies.model_validate_json(row.content) if row else None


def difference(old: Policies | None, new: Policies) -> list[str]:
    """What would change, a line a field: `+` added, `-` gone, `~` from → to."""
    before = _flat(json.loads(old.model_dump_json())) if old else {}
    after = _flat(json.loads(new.model_dump_json()))
    return _lines(before, after)


def _lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    lines = []
    for key in dict.fromkeys([*before, *after]):
        if key not in before:
            lines.append(f"+ {key}: {after[key]}")
        elif key not in after:
            lines.append(f"- {key}: {before[key]}")
        elif before[key] != after[key]:
            was, becomes = _by_name(key, before[key]), _by_name(key, after[key])
            in_order = [k for k in was if k in becomes] == [k for k in becomes if k in was]
            lines += (_lines(was, becomes) if was and becomes and in_order else []) or [
                f"~ {key}: {before[key]} → {after[key]}"
            ]
    return lines


def _by_name(key: str, value: Any) -> dict[str, Any]:
    """A list of things with names, such as a dataset's fields, as what it says of each; of anything else, nothing."""
    named = {v["name"]: v for v in value if isinstance(v, Mapping) and "name" in v} if isinstance(value, list) else {}
    return _flat(named, f"{key}.") if named and len(named) == len(value) else {}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): value}


def unchangeable(old: Policies, new: Policies) -> list[str]:
    """What may never change once people's data were promised under it."""
    found = []
    for name, population in old.populations.items():
        mine = new.populations.get(name)
        if mine is None:
            found.append(f"populations.yaml, {name}: a population is never removed: its ledger stands for good")
        elif mine.measure != population.measure or mine.lifetime.delta != population.lifetime.delta:
            found.append(f"populations.yaml, {name}: measure and delta are fixed when a population is created")
    for name, dataset in old.datasets.items():
        later = new.datasets.get(name)
        if later is not None and later.population != dataset.population:
            found.append(f"datasets/{name}.yaml, population: a dataset's people do not become others")
    return found


def retold(old: Dataset, new: Dataset) -> list[str]:
    """What the rows kept since an ingest were made by: whose a row is was written into them, and each column's type."""
    found = []
    if old.table.unit.field != new.table.unit.field:
        found.append("schema.unit.field: the rows that were ingested say by another column whose they are")
    types = {f.name: f.type for f in old.table.fields}
    changed = [f.name for f in new.table.fields if types.get(f.name, f.type) is not f.type]
    return found + [f"schema.fields, {name}: the rows that were ingested hold another type" for name in changed]


def unisolated(new: Policies, ingested: Collection[str]) -> list[str]:
    """Rows that are in the area, though no dataset of the policies any more, which its isolation is too weak for."""
    level = new.area.sandbox.isolation
    if level is Isolation.FULL:
        return []
    gone = sorted(set(ingested) - set(new.datasets))
    return [
        f"area.yaml, sandbox.isolation: the rows of {name} are in this area, which {level} does not keep"
        for name in gone
    ]


def exposed(history: list[Policies], new: Policies) -> list[str]:
    """Datasets for an area whose keys, tokens and database any notebook could once read and write."""
    if not any(old.area.sandbox.isolation is Isolation.NONE for old in history):
        return []
    return [
        f"datasets/{name}.yaml, public: isolation has been none in this area, so a notebook may hold its keys; make a new area"
        for name, dataset in new.datasets.items()
        if not dataset.public
    ]


def applied(connection: sa.Connection) -> list[Policies]:
    """Everything that was ever in force, newest last."""
    t = tables.policies
    rows = connection.execute(sa.select(t.c.content).order_by(t.c.id)).scalars()
    return [Policies.model_validate_json(row) for row in rows]


def refuse_unchangeable(history: list[Policies], new: Policies, ingested: Collection[str] = ()) -> None:
    """Against everything ever applied: what was taken out does not come back as something else.

    `ingested` datasets are compared with what was last said of them, and so with what they were ingested by.
    """
    found = sorted({line for old in history for line in unchangeable(old, new)})
    for name in sorted(set(ingested) & set(new.datasets)):
        before = next((old.datasets[name] for old in reversed(history) if name in old.datasets), None)
        if before is not None:
            found += [f"datasets/{name}.yaml, {line}" for line in retold(before, new.datasets[name])]
    found += unisolated(new, ingested) + exposed(history, new)
    if found:
        raise _invalid(found)
