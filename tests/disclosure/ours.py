"""What the rules of `tre` say of a case of the corpus: the check itself, on the corpus' rows."""

import json

import duckdb

from tests.disclosure.corpus import Declared, Model, Picture, Sheet, Words
from tests.disclosure.data import DATASETS, write
from tre.messages import DatasetInfo, OutputKind, PlannedOutput
from tre.rules.disclosure.finding import Rule, Verdict, refused
from tre.rules.policy import Disclosure
from tre.rules.schema import TableSchema
from tre.secure.release import outputs
from tre.secure.release.judging import Earlier, judge
from tre.statistics.declared import parse

KINDS = {Declared: OutputKind.TABLE, Sheet: OutputKind.TABLE, Words: OutputKind.TEXT, Model: OutputKind.MODEL, Picture: OutputKind.FIGURE}  # fmt: skip
NUMBERS = b"x,n\na,200\nb,300\n"


class Ours:
    def __init__(self, folder):
        self.paths, self.infos = {}, {}
        for name, path in write(folder).items():
            self.paths[name] = folder / f"{name}.parquet"
            order = "row_number() OVER (PARTITION BY person) - 1 AS tre_order"
            query = f"SELECT *, person AS tre_person, {order} FROM read_csv('{path}')"
            duckdb.sql(f"COPY ({query}) TO '{self.paths[name]}' (FORMAT parquet)")
            table = TableSchema.model_validate(DATASETS[name][0])
            columns = tuple(f.name for f in table.fields if f.name != "person")
            self.infos[name] = DatasetInfo(
                id=name, title=name, description="", source="", licence="", steward="", population="p", version="1",
                delta=1e-6, columns=columns, table=table, twin=None,
            )  # fmt: skip

    def verdict(self, case):
        """("fail" | "review" | "eyes" | "pass", the rules that were not passed). "eyes": only that no machine checks it."""
        limits = Disclosure(**case.limits)
        items, claimed, removed = [], {}, False
        for i, thing in enumerate(case.outputs):
            name = f"t{i}"
            declared = parse(thing.statement()) if isinstance(thing, Declared) else None
            data = "numbers" if isinstance(thing, Picture) and thing.data else None
            items.append(
                PlannedOutput(name=name, kind=KINDS[type(thing)], context=case.context, declared=declared, data=data)
            )
            claimed[name], gone = self._content(thing)
            removed |= gone
        before = []
        if not case.together:
            for i, item in enumerate(items[:-1]):
                alone = judge([item], claimed, self.infos, self.paths.get, (), limits)[item.name]
                versions = dict.fromkeys(self.infos, "1")
                before.append(Earlier(release=f"rel-{i}", output=item, datasets=versions, content=alone.content))
            items = items[-1:]
        judged = judge(items, claimed, self.infos, self.paths.get, before, limits)
        bad = [f for j in judged.values() for f in j.findings if f.verdict is not Verdict.PASS]
        rules = sorted({f.rule.value for f in bad if f.rule is not Rule.UNCHECKED})
        if refused(bad) or any(f.verdict is Verdict.FAIL for f in bad):
            return "fail", rules
        if rules:
            return "review", rules
        if removed:
            return "fail", ["removed"]
        return ("eyes" if bad else "pass"), rules

    def _content(self, thing):
        """(what is looked at, whether something that may not leave was taken out)"""
        if isinstance(thing, Sheet):
            return outputs.rewrite(OutputKind.TABLE, thing.text.encode()), False
        if isinstance(thing, Words):
            return outputs.rewrite(OutputKind.TEXT, thing.text.encode()), False
        if isinstance(thing, Picture):
            clean = outputs.rewrite(OutputKind.FIGURE, thing.content)
            return clean, bool(thing.secret) and not _holds(clean, thing.secret)
        if isinstance(thing, Model):
            return self._model(thing), False
        return None, False

    def _model(self, thing):
        """What least squares would say of itself: only how many rows and columns are behind it matters here."""
        ((n,),) = duckdb.sql(
            f"SELECT count(*) FROM read_parquet('{self.paths['people']}') WHERE {thing.where}"
        ).fetchall()
        terms = [
            {"name": t, "estimate": 0.5, "error": 0.1, "low": 0.3, "high": 0.7, "p": 0.01}
            for t in ("const", *thing.predictors.split())
        ]
        content = {
            "model": "OLS",
            "outcome": thing.outcome,
            "observations": n,
            "residual_degrees": n - len(terms),
            "terms": terms,
        }
        return outputs.rewrite(OutputKind.MODEL, json.dumps(content).encode())


def _holds(content, secret):
    """Whether the bytes are in a picture's file, or in its points."""
    import io

    from PIL import Image

    points = Image.open(io.BytesIO(content)).convert("RGBA").tobytes()
    return secret in content or secret in points[::4]
