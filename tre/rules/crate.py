"""A release as an RO-Crate: `ro-crate-metadata.json`, by the profile of Five Safes crates.

Guarantees: made of the receipt's statement, the policies in force and the names and sizes of the bundle's own files: nothing
that was not released is in it, and no person but by the receipt's keyed identifier. All actions end at the release's
moment: when they began, and when a checker voted, would tell when a run on real rows had ended.
The main entity is the notebook itself, not a workflow crate as the profile wants: a notebook is what was submitted and run.
Not done here: phases of a submitted crate (a notebook is submitted, not a crate), and who may rely on it: the receipt covers it.
Sources: RO-Crate 1.2; Five Safes RO-Crate 0.4 (https://w3id.org/5s-crate/0.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tre.rules.disclosure import record as records
from tre.rules.policy import Policies

NAME = "ro-crate-metadata.json"
BASE, PROFILE = "https://w3id.org/ro/crate/1.2", "https://w3id.org/5s-crate/0.4"
CHECKS = "https://w3id.org/shp#"
RECEIPT, NOTEBOOK, PLAN = "receipt.json", "notebook.ipynb", "plan.json"
COMPLETED = "http://schema.org/CompletedActionStatus"
FORMATS = {
    "json": "application/json", "csv": "text/csv", "png": "image/png", "txt": "text/plain",
    "ipynb": "application/x-ipynb+json",
}  # fmt: skip
SAID = {
    RECEIPT: "The signed receipt: names every other file by its SHA-256",
    records.NAME: "By which rules and thresholds this was checked, and what they said",
    PLAN: "What was confirmed before anything real was touched",
    "values.json": "Statistics with differential privacy noise, with their errors",
    "outputs.json": "What the outputs without noise are",
}

Entity = dict[str, Any]


def metadata(
    statement: Mapping[str, Any], policies: Policies, sizes: Mapping[str, int], parameters: Mapping[str, Any]
) -> Entity:
    """The document. `sizes`: of the bundle's files in bytes, by name, without this one and the receipt."""
    project, area = policies.projects[statement["project"]], policies.area
    names = sorted({*sizes, RECEIPT})
    results = [n for n in names if n.startswith(("values", "outputs"))]
    inputs = [_dataset(name, version, policies) for name, version in sorted(statement["datasets"].items())]
    given = [_parameter(name, value) for name, value in sorted(parameters.items())]
    actions = _actions(statement, results, [*inputs, *given])
    root = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": _id(PROFILE),
        "name": f"{project.title}: release {statement['release']}",
        "description": f"What was released to the project {project.title!r} of {area.title}. {project.purpose}",
        "identifier": statement["release"],
        "datePublished": statement["released"],
        "license": _id("#terms"),
        "publisher": _id("#controller"),
        "sourceOrganization": _id("#project"),
        "mainEntity": _id(NOTEBOOK),
        "hasPart": [_id(_path(n)) for n in names],
        "mentions": [_id(a["@id"]) for a in actions],
    }
    graph = [
        {"@id": NAME, "@type": "CreativeWork", "about": _id("./"), "conformsTo": _id(BASE)},
        root,
        *(_file(n, sizes.get(n)) for n in names),
        *actions,
        *inputs,
        *given,
        *(_formal(name) for name in sorted(parameters)),
        *_context(statement, policies),
        *_people(statement),
    ]
    return {"@context": f"{BASE}/context", "@graph": graph}


def _id(name: str) -> dict[str, str]:
    return {"@id": name}


def _ids(names: Sequence[str]) -> Any:
    """One reference alone, several as a list: as RO-Crate would have it."""
    found = [_id(n) for n in names]
    return found[0] if len(found) == 1 else found


def _path(name: str) -> str:
    return quote(name)


def _file(name: str, size: int | None) -> Entity:
    suffix = name.rpartition(".")[2]
    found: Entity = {
        "@id": _path(name), "@type": "File", "name": name, "encodingFormat": FORMATS.get(suffix, "application/octet-stream"),
        "description": SAID.get(name) or _described(name),
    }  # fmt: skip
    if size is not None:
        found["contentSize"] = str(size)
    if name == NOTEBOOK:
        found |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "programmingLanguage": _id("#language"),
        }
    return found


def _described(name: str) -> str:
    folder = name.partition("/")[0]
    return {
        "values": "Numbers with differential privacy noise, a row a number",
        "outputs": "An output without noise, approved by two output checkers",
        "datasets": "What is declared of a dataset: no row of it",
        NOTEBOOK: "The notebook as it was submitted",
    }.get(folder, "A file of the release")


def _dataset(name: str, version: str, policies: Policies) -> Entity:
    """The dataset that was used, which stays in the area; beside it what is declared of it, if that is in the bundle."""
    found = policies.datasets[name]
    described = {k: v for k, v in (("description", found.description), ("creditText", found.source)) if v}
    return {"@id": f"#dataset-{name}", "@type": "CreativeWork", "name": found.title, "version": version} | described


def _parameter(name: str, value: Any) -> Entity:
    return {
        "@id": f"#parameter-{name}", "@type": "PropertyValue", "name": name, "value": str(value),
        "exampleOfWork": _id(f"#formal-{name}"),
    }  # fmt: skip


def _formal(name: str) -> Entity:
    return {"@id": f"#formal-{name}", "@type": "FormalParameter", "name": name, "additionalType": "Text"}


def _actions(statement: Mapping[str, Any], results: Sequence[str], inputs: Sequence[Entity]) -> list[Entity]:
    ended = {"actionStatus": COMPLETED, "endTime": statement["released"]}
    checkers = _ids([_person(p) for p in statement["decided_by"]] or ["#controller"])
    everything = _ids([_path(r) for r in results])
    return [
        {
            "@id": "#sign-off", "@type": "AssessAction", "additionalType": _id(f"{CHECKS}SignOff"),
            "name": "Allowed by the policies in force for this project", "agent": _id("#controller"),
            "instrument": _id("#policies"), "object": [_id(NOTEBOOK), _id(PLAN)], **ended,
        },
        {
            "@id": "#execution", "@type": "CreateAction", "name": "Computed on the registered rows",
            "agent": _id(_person(statement["researcher"])), "instrument": _id(NOTEBOOK),
            "object": _ids([i["@id"] for i in inputs]), "result": everything, **ended,
        },
        {
            "@id": "#disclosure-check", "@type": "AssessAction", "additionalType": _id(f"{CHECKS}DisclosureCheck"),
            "name": f"Disclosure control, decided: {statement['decision']}", "agent": checkers,
            "instrument": [_id("#software"), _id("#policies")], "object": everything, "result": _id(records.NAME), **ended,
        },
        {
            "@id": "#check-value", "@type": "UpdateAction", "additionalType": _id(f"{CHECKS}GenerateCheckValue"),
            "name": "Receipt signed over every file", "agent": _id("#controller"), "instrument": _id("#software"),
            "object": _id("./"), "result": _id(RECEIPT), **ended,
        },
    ]  # fmt: skip


def _context(statement: Mapping[str, Any], policies: Policies) -> list[Entity]:
    project = policies.projects[statement["project"]]
    software = statement["software"]
    agreed = f" under {project.agreement}" if project.agreement else ""
    return [
        {"@id": "#controller", "@type": "Organization", "name": policies.area.controller},
        {"@id": "#project", "@type": "Project", "name": project.title, "identifier": statement["project"],
         "description": project.lay_summary.strip(), "parentOrganization": _id("#controller")},
        {"@id": "#policies", "@type": "CreativeWork", "name": "The area's policies in force", "identifier": statement["policy"]},
        {"@id": "#terms", "@type": "CreativeWork", "name": "Terms of use",
         "description": f"No licence is stated: what is allowed is what the project was approved for{agreed}. Ask {policies.area.controller}."},
        {"@id": PROFILE, "@type": ["CreativeWork", "Profile"], "name": "Five Safes RO-Crate", "version": "0.4"},
        {"@id": "#language", "@type": "ComputerLanguage", "name": "Python", "url": "https://www.python.org/",
         "version": software["python"]},
        # A SoftwareApplication needs an address, which a release cannot know of the software that made it.
        {"@id": "#software", "@type": "CreativeWork", "name": f"tre, with OpenDP {software['opendp']}", "version": software["tre"]},
    ]  # fmt: skip


def _people(statement: Mapping[str, Any]) -> list[Entity]:
    """As opaque as in the receipt; the same identifier is the same person in all of an area's releases."""
    who = [("Researcher", statement["researcher"]), *(("Output checker", p) for p in statement["decided_by"])]
    return [
        {"@id": _person(p), "@type": "Person", "name": f"{role} {p}", "identifier": p, "affiliation": _id("#controller")}
        | ({"memberOf": _id("#project")} if role == "Researcher" else {})
        for role, p in who
    ]  # fmt: skip


def _person(identifier: str) -> str:
    return f"#person-{identifier}"
