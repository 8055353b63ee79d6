"""What frictionless, the reference for Table Schema, counts in CSV files: errors by field and rule, as tre names them.

A task is {"csv": …, "schema": Table Schema, "people": a CSV that foreign keys lead to, or none}. `run.py FILE` answers the
file's {"tasks": […]}; `run.py -` answers tasks from standard input, a line each, for as long as there are any.
"""

import json
import re
import sys
import time
from pathlib import Path

import frictionless
from frictionless import Package, Resource, Schema


def counted(task):
    resources = [_resource("rows", task["csv"], Schema.from_descriptor(task["schema"]))]
    if task.get("people"):
        other = json.loads(json.dumps(task.get("other") or {"fields": [{"name": "person", "type": "integer"}]}))
        resources.append(_resource("people", task["people"], Schema.from_descriptor(other)))
    package = Package(resources=resources)
    report = package.validate(limit_errors=10**9)
    (mine,) = [t for t in report.tasks if t.name == "rows"]
    found = {}
    for error in mine.errors:
        name = _name(error, task["schema"])
        found[name] = found.get(name, 0) + 1
    return found


def _resource(name, path, schema):
    path = Path(path)
    return Resource(name=name, path=path.name, basepath=str(path.parent), schema=schema)


def _name(error, schema):
    if error.type == "type-error":
        return f"{error.field_name}:type"
    if error.type == "constraint-error":
        rule = re.search(r'constraint "(\w+)"', error.note)[1]
        return f"{error.field_name}:{rule}"
    if error.type == "unique-error":
        return f"{error.field_name}:unique"
    if error.type == "primary-key":
        return f"{','.join(schema['primaryKey'])}:primary_key"
    if error.type == "foreign-key":
        return f"{','.join(schema['foreignKeys'][0]['fields'])}>people:foreign_key"
    return f"{error.type}"


def main():
    if sys.argv[1] == "-":
        for line in sys.stdin:
            print(json.dumps(counted(json.loads(line))), flush=True)
        return
    before = time.process_time()
    counts = [counted(t) for t in json.loads(Path(sys.argv[1]).read_text())["tasks"]]
    # Not getrusage: that counts what the process was before it became this program.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    told = {
        "version": frictionless.__version__,
        "cpu": time.process_time() - before,
        "peak_mib": peak,
        "counts": counts,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
