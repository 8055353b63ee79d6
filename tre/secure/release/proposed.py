"""What a rehearsal proposes as outputs, checked before it is planned: statements in the language, and nothing that never may leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tre.errors import RequestError
from tre.messages import DatasetInfo, Emitted, EmittedOutput, OutputKind, PlannedOutput
from tre.rules.disclosure.finding import Finding, refused
from tre.statistics.printing import scope


def planned(output: EmittedOutput, emitted: Emitted, infos: Mapping[str, DatasetInfo]) -> PlannedOutput:
    """Raises RequestError for a statement that the schema does not allow, and for numbers that are nowhere."""
    if output.declared is not None:
        if output.kind is not OutputKind.TABLE or output.declared.dataset not in infos:
            raise RequestError(
                "dataset_unknown",
                "A table is of a dataset that the project does not have.",
                "Use the project's datasets.",
            )
        scope(output.declared, infos[output.declared.dataset].table)
    if output.data is not None and output.data not in {o.name for o in emitted.outputs if o.kind is OutputKind.TABLE}:
        raise RequestError(
            "data_unknown",
            f"The output {output.name!r} says that its numbers are in another, which is not there.",
            "Propose that table too, and name it with data=…",
        )
    return PlannedOutput(
        name=output.name, kind=output.kind, context=output.context, declared=output.declared, data=output.data
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raises RequestError for identifiers, lists of rows and what is too long."""
    found = refused(findings)
    if found is not None:
        raise RequestError(*found)
