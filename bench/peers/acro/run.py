"""ACRO's word on the cases of a task file: each is run as a notebook would, with ACRO's calls in the place of pandas'.

A case's outputs are made in one ACRO session, in order; ACRO knows no releases, so those that have left are the earlier
outputs of the session, and its word on the last one counts. What ACRO has no call for (a frame, a text, a picture) is given to
`custom_output`, which marks it for review unseen. Statuses are those that `finalise` would write.
"""

import json
import logging
import os
import re
import sys
import tempfile
from importlib.metadata import version  # noqa: TID251  # reads a number, imports nothing
from pathlib import Path


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = json.loads(Path(sys.argv[1]).read_text())
    logging.disable(logging.CRITICAL)
    import pandas as pd

    frames = {name: pd.read_csv(path) for name, path in task["data"].items()}
    os.chdir(tempfile.mkdtemp())
    answers = [_case(case, frames, i) for i, case in enumerate(task["cases"])]
    with out:
        json.dump({"versions": {"acro": version("acro")}, "answers": answers}, out)


def _case(case, frames, number):
    """{"status": …, "summary": …} of the last output, or the worst of all where they are proposed together."""
    from acro import ACRO

    session = ACRO(suppress=any(o.get("suppress") for o in case["outputs"]))
    found = []
    for i, output in enumerate(case["outputs"]):
        try:
            found.append(_STEPS[output["kind"]](session, output, frames, f"case-{number}-{i}"))
        except Exception as error:  # what ACRO cannot do is a result
            found.append({"status": "error", "summary": f"{type(error).__name__}: {error}"[:200]})
    rank = ["pass", "custom", "error", "review", "fail"]
    judged = found if case["together"] else found[-1:]
    return max(judged, key=lambda f: rank.index(f["status"]))


def _last(session):
    record = list(session.results.results.values())[-1]
    return {"status": record.status, "summary": str(record.summary)[:200]}


def _rows(frame, where):
    text = re.sub(r"(?<![<>!=])=(?!=)", "==", where.replace("<>", "!="))
    for word in ("AND", "OR", "NOT", "IN"):
        text = re.sub(rf"\b{word}\b", word.lower(), text)
    text = re.sub(r"in \(([^)]*)\)", r"in [\1]", text)
    return frame.query(text, engine="python") if where else frame


def _declared(session, output, frames, _name):
    frame = _rows(frames[output["dataset"]], output["where"]).copy()
    frame["all_"] = "all"
    for group in output["group_by"]:
        if group.get("keys"):
            frame = frame[frame[group["column"]].astype(str).isin([str(k) for k in group["keys"]])]
    by = [g["column"] for g in output["group_by"]]
    index = [frame[c] for c in by[:-1]] or [frame["all_"]]
    columns = frame[by[-1]] if by else frame["all_"]
    said = []
    for statistic in output["statistics"]:
        kind, column = statistic["kind"], statistic.get("column")
        more = {"margins": True} if output["totals"] else {}
        if column is not None:
            how = {"share": "mean", "quantile": "median"}.get(kind, kind)
            more |= {"values": frame[column].astype(float), "aggfunc": how}
        session.crosstab(index if len(index) > 1 else index[0], columns, **more)
        said.append(_last(session))
    rank = ["pass", "review", "fail"]
    return max(said, key=lambda s: rank.index(s["status"]))


def _model(session, output, frames, _name):
    frame = _rows(frames["people"], output["where"])
    predictors = frame[output["predictors"]].astype(float)
    session.ols(frame[output["outcome"]].astype(float), predictors.assign(const=1.0))
    return _last(session)


def _custom(session, output, _frames, name):
    path = Path(f"{name}.{output['suffix']}")
    path.write_bytes(bytes.fromhex(output["content"]))
    session.custom_output(str(path), "an output")
    return {"status": "custom", "summary": "for review, unseen"}


_STEPS = {"declared": _declared, "model": _model, "custom": _custom}

if __name__ == "__main__":
    main()
