"""Row expressions: SQL scalar text, parsed by sqlglot, compiled against an allow-list to DuckDB SQL.

Guarantees: what comes out is made here, node by node, from a closed list; the submitted text itself never reaches the
database. An expression sees one row, has no aggregate, window, subquery or randomness, and cannot fail on a value:
division by zero, overflow, logarithms of nothing and bad casts are NULL. Unknown means refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tre.errors import RequestError
from tre.rules.schema import FieldType
from tre.statistics.sql import literal, quote

MAX_TEXT = 4_000
MAX_NODES = 400
MAX_DEPTH = 40
# Of what is made of a text: some parts stand twice in it, and nested they would double and double again.
MAX_SQL = 100_000


class Kind(StrEnum):
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    NULL = "null"


# What an expression takes a declared column for.
KINDS = {
    FieldType.INTEGER: Kind.NUMBER,
    FieldType.NUMBER: Kind.NUMBER,
    FieldType.STRING: Kind.TEXT,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}


@dataclass(frozen=True)
class Compiled:
    """DuckDB SQL, its kind, and, where the text itself says so, the only values it can take and that it never is NULL."""

    sql: str
    kind: Kind
    values: tuple[str | bool, ...] | None = None
    nullable: bool = True


def compile_expression(text: str, scope: Mapping[str, Kind], *, required: Collection[str] = ()) -> Compiled:
    """`text` over the columns of `scope`, of which those `required` are never NULL.

    Raises RequestError with code expression_refused or column_unknown.
    """
    if len(text) > MAX_TEXT:
        raise _refused(f"it has more than {MAX_TEXT} characters")
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except (SqlglotError, RecursionError, ValueError):
        raise _refused("it is not a SQL expression") from None
    if sum(1 for _ in tree.walk()) > MAX_NODES:
        raise _refused(f"it has more than {MAX_NODES} parts")
    inner = _Compiler(scope, required).compile(tree, 0)
    return Compiled(f"TRY({_finite(inner)})", inner.kind, inner.values, inner.nullable)


def _refused(why: str) -> RequestError:
    return RequestError(
        "expression_refused",
        f"An expression was refused: {why}.",
        "Use one row's columns with comparisons, AND/OR/NOT, IN, BETWEEN, LIKE, IS NULL, CASE, arithmetic and the "
        "functions that docs/reference/expressions.md lists.",
    )


def _finite(part: Compiled) -> str:
    """NaN and infinity as NULL."""
    if part.kind is not Kind.NUMBER or part.sql.isdigit():
        return part.sql
    return f"(CASE WHEN isfinite({part.sql}) THEN {part.sql} END)"


_BINARY: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
# One-argument functions: node → (DuckDB name, kind of the argument, kind of the result).
_UNARY: dict[type[exp.Expr], tuple[str, Kind, Kind]] = {
    exp.Abs: ("abs", Kind.NUMBER, Kind.NUMBER),
    exp.Floor: ("floor", Kind.NUMBER, Kind.NUMBER),
    exp.Ceil: ("ceil", Kind.NUMBER, Kind.NUMBER),
    exp.Sqrt: ("sqrt", Kind.NUMBER, Kind.NUMBER),
    exp.Ln: ("ln", Kind.NUMBER, Kind.NUMBER),
    exp.Exp: ("exp", Kind.NUMBER, Kind.NUMBER),
    exp.Upper: ("upper", Kind.TEXT, Kind.TEXT),
    exp.Lower: ("lower", Kind.TEXT, Kind.TEXT),
    exp.Trim: ("trim", Kind.TEXT, Kind.TEXT),
    exp.Length: ("length", Kind.TEXT, Kind.NUMBER),
    exp.Year: ("year", Kind.DATE, Kind.NUMBER),
    exp.Month: ("month", Kind.DATE, Kind.NUMBER),
    exp.Day: ("day", Kind.DATE, Kind.NUMBER),
}


# What each kind of node may carry; for all others: this, expression, expressions.
_ARGUMENTS: dict[type[exp.Expr], set[str]] = {
    **{kind: {"this"} for kind in _UNARY},
    exp.Between: {"this", "low", "high"},
    exp.Case: {"this", "ifs", "default"},
    exp.Cast: {"this", "to"},
    exp.TryCast: {"this", "to", "safe"},
    exp.Concat: {"expressions", "safe", "coalesce"},
    exp.DPipe: {"this", "expression", "safe"},
    exp.DateDiff: {"this", "expression", "unit", "date_part_boundary"},
    exp.Substring: {"this", "start", "length"},
    exp.Greatest: {"this", "expressions", "ignore_nulls"},
    exp.Least: {"this", "expressions", "ignore_nulls"},
    exp.Like: {"this", "expression", "negate"},
    exp.Literal: {"this", "is_string"},
    exp.Log: {"this"},
    exp.Round: {"this", "decimals"},
}


class _Compiler:
    def __init__(self, scope: Mapping[str, Kind], required: Collection[str]) -> None:
        self.scope = scope
        self.required = required

    def compile(self, node: exp.Expr, depth: int) -> Compiled:
        if depth > MAX_DEPTH:
            raise _refused("it is nested too deeply")
        if not isinstance(node, exp.Expression):  # the parser leaves out what it cannot read: "@" is half an operator
            raise _refused("a part of it is missing")

        def sub(child: exp.Expr) -> Compiled:
            return self.compile(child, depth + 1)

        given = {name for name, value in node.args.items() if value not in (None, False, [], "")}
        # A part that the code below does not look at would be left out in silence: NOT of LIKE, SYMMETRIC of BETWEEN.
        unknown = given - _ARGUMENTS.get(type(node), {"this", "expression", "expressions"})
        if unknown:
            raise _refused(f"{type(node).__name__} with {', '.join(sorted(unknown))} is not in the language")
        handler = self._handlers().get(type(node))
        if handler is not None:
            compiled = handler(node, sub)
        elif type(node) in _UNARY:
            name, wanted, result = _UNARY[type(node)]
            compiled = Compiled(f"{name}({_sql(sub(node.this), wanted)})", result)
        else:
            raise _refused(f"{type(node).__name__} is not in the language")
        if len(compiled.sql) > MAX_SQL:
            raise _refused("its comparisons and cases are nested too deeply")
        return compiled

    def _handlers(self) -> dict[type[exp.Expr], Callable[[exp.Expr, _Sub], Compiled]]:
        return {
            exp.Column: self._column,
            exp.Literal: _literal,
            exp.Boolean: lambda n, _: Compiled(literal(bool(n.this)), Kind.BOOLEAN, (bool(n.this),), nullable=False),
            exp.Null: lambda _n, _: Compiled("NULL", Kind.NULL, ()),
            exp.Paren: lambda n, sub: sub(n.this),
            exp.Neg: lambda n, sub: Compiled(f"(-{_sql(sub(n.this), Kind.NUMBER)})", Kind.NUMBER),
            exp.Not: _not,
            exp.And: lambda n, sub: _logic("AND", n, sub),
            exp.Or: lambda n, sub: _logic("OR", n, sub),
            exp.Div: _divide,
            exp.Mod: _divide,
            exp.In: _in,
            exp.Between: _between,
            exp.Is: _is_null,
            exp.Like: _like,
            exp.Case: _case,
            exp.Coalesce: _coalesce,
            exp.Nullif: _nullif,
            exp.Greatest: lambda n, sub: _extreme("greatest", n, sub),
            exp.Least: lambda n, sub: _extreme("least", n, sub),
            exp.Round: _round,
            exp.Pow: lambda n, sub: _two("pow", n, sub),
            exp.Log: lambda n, sub: Compiled(f"log10({_sql(sub(n.this), Kind.NUMBER)})", Kind.NUMBER),
            exp.Substring: _substring,
            exp.Concat: _joined_text,
            exp.DPipe: _joined_text,
            exp.Extract: _extract,
            exp.DateDiff: _days_between,
            exp.Cast: _cast,
            exp.TryCast: _cast,
            **dict.fromkeys(_BINARY, _arithmetic),
            **dict.fromkeys(_COMPARE, _comparison),
        }

    def _column(self, node: exp.Expr, _: _Sub) -> Compiled:
        if node.args.get("table") or not isinstance(node.this, exp.Identifier):
            raise _refused("columns are named without a table")
        name = node.name
        if name not in self.scope:
            raise RequestError(
                "column_unknown",
                f"There is no column {name[:80]!r} here.",
                f"Available: {', '.join(sorted(self.scope)) or 'none'}. Or ask for the column to be added to the project.",
            )
        kind = self.scope[name]
        # All arithmetic is in doubles: whole-number overflow does not exist there.
        values = (False, True) if kind is Kind.BOOLEAN else None
        return Compiled(quote(name), kind, values, nullable=name not in self.required)


_Sub = Callable[[exp.Expr], Compiled]


def _truth(sql: str, *parts: Compiled) -> Compiled:
    """A boolean, NULL only where one of its parts can be."""
    return Compiled(sql, Kind.BOOLEAN, (False, True), nullable=any(p.nullable for p in parts))


def _sql(part: Compiled, wanted: Kind) -> str:
    if part.kind not in (wanted, Kind.NULL):
        raise _refused(f"a {wanted.value} is needed where a {part.kind.value} stands")
    return f"CAST({part.sql} AS DOUBLE)" if wanted is Kind.NUMBER and part.sql.startswith('"') else part.sql


def _same(parts: list[Compiled]) -> Kind:
    kinds = {p.kind for p in parts} - {Kind.NULL}
    if len(kinds) > 1:
        raise _refused(f"{' and '.join(sorted(k.value for k in kinds))} are mixed")
    return kinds.pop() if kinds else Kind.NULL


def _literal(node: exp.Expr, _: _Sub) -> Compiled:
    text = str(node.this)
    if node.args.get("is_string"):
        return Compiled(literal(text), Kind.TEXT, (text,), nullable=False)
    number = float(text)
    if not math.isfinite(number):
        raise _refused("a number is too large")
    sql = text if text.isdigit() and len(text) < 16 else f"CAST({number!r} AS DOUBLE)"
    return Compiled(sql, Kind.NUMBER, nullable=False)


def _not(node: exp.Expr, sub: _Sub) -> Compiled:
    part = sub(node.this)
    return _truth(f"(NOT {_sql(part, Kind.BOOLEAN)})", part)


def _logic(word: str, node: exp.Expr, sub: _Sub) -> Compiled:
    parts = [sub(node.args[a]) for a in ("this", "expression")]
    left, right = (_sql(p, Kind.BOOLEAN) for p in parts)
    return _truth(f"({left} {word} {right})", *parts)


def _arithmetic(node: exp.Expr, sub: _Sub) -> Compiled:
    left, right = (_sql(sub(node.args[a]), Kind.NUMBER) for a in ("this", "expression"))
    return Compiled(f"(CAST({left} AS DOUBLE) {_BINARY[type(node)]} {right})", Kind.NUMBER)


def _divide(node: exp.Expr, sub: _Sub) -> Compiled:
    left, right = (_sql(sub(node.args[a]), Kind.NUMBER) for a in ("this", "expression"))
    sign = "/" if isinstance(node, exp.Div) else "%"
    return Compiled(f"(CAST({left} AS DOUBLE) {sign} NULLIF(CAST({right} AS DOUBLE), 0))", Kind.NUMBER)


def _two(name: str, node: exp.Expr, sub: _Sub) -> Compiled:
    left, right = (_sql(sub(node.args[a]), Kind.NUMBER) for a in ("this", "expression"))
    return Compiled(f"{name}(CAST({left} AS DOUBLE), {right})", Kind.NUMBER)


def _comparison(node: exp.Expr, sub: _Sub) -> Compiled:
    parts = [sub(node.args["this"]), sub(node.args["expression"])]
    _same(_dates(parts))
    left, right = (_finite(p) for p in _dates(parts))
    return _truth(f"({left} {_COMPARE[type(node)]} {right})", *_dates(parts))


def _dates(parts: list[Compiled]) -> list[Compiled]:
    """A text constant beside a date is a date (or NULL where it is none)."""
    if not any(p.kind is Kind.DATE for p in parts):
        return parts
    return [
        Compiled(f"TRY_CAST({p.sql} AS DATE)", Kind.DATE) if p.kind is Kind.TEXT and p.values is not None else p
        for p in parts
    ]


def _in(node: exp.Expr, sub: _Sub) -> Compiled:
    choices = node.expressions
    if not choices or any(not isinstance(c, exp.Literal | exp.Neg) for c in choices):
        raise _refused("IN takes a list of constants")
    parts = [sub(node.this), *(sub(c) for c in choices)]
    _same(_dates(parts))
    first, *rest = (_finite(p) for p in _dates(parts))
    return _truth(f"({first} IN ({', '.join(rest)}))", *_dates(parts))


def _between(node: exp.Expr, sub: _Sub) -> Compiled:
    parts = _dates([sub(node.args[a]) for a in ("this", "low", "high")])
    _same(parts)
    value, low, high = (_finite(p) for p in parts)
    return _truth(f"({value} BETWEEN {low} AND {high})", *parts)


def _is_null(node: exp.Expr, sub: _Sub) -> Compiled:
    if not isinstance(node.expression, exp.Null):
        raise _refused("IS takes NULL only")
    return _truth(f"({_finite(sub(node.this))} IS NULL)")


def _like(node: exp.Expr, sub: _Sub) -> Compiled:
    if not isinstance(node.expression, exp.Literal):
        raise _refused("LIKE takes a constant pattern")
    word = "NOT LIKE" if node.args.get("negate") else "LIKE"
    parts = [sub(node.this), sub(node.expression)]
    left, right = (_sql(p, Kind.TEXT) for p in parts)
    return _truth(f"({left} {word} {right})", *parts)


def _case(node: exp.Expr, sub: _Sub) -> Compiled:
    tests = [b.this if node.this is None else exp.EQ(this=node.this, expression=b.this) for b in node.args["ifs"]]
    branches = [(_sql(sub(t), Kind.BOOLEAN), sub(b.args["true"])) for t, b in zip(tests, node.args["ifs"], strict=True)]
    default = node.args.get("default")
    outcomes = [o for _, o in branches] + ([sub(default)] if default is not None else [])
    kind = _same(outcomes)
    body = " ".join(f"WHEN {test} THEN {outcome.sql}" for test, outcome in branches)
    tail = f" ELSE {outcomes[-1].sql}" if default is not None else ""
    nullable = default is None or any(o.nullable for o in outcomes)
    return Compiled(f"(CASE {body}{tail} END)", kind, _joined(outcomes), nullable)


def _joined(parts: list[Compiled]) -> tuple[str | bool, ...] | None:
    """All values that any of the parts can take, in the order of the text; None when one of them is open."""
    values: dict[str | bool, None] = {}
    for part in parts:
        if part.values is None:
            return None
        values |= dict.fromkeys(part.values)
    return tuple(values)


def _coalesce(node: exp.Expr, sub: _Sub) -> Compiled:
    parts = [sub(node.this), *(sub(e) for e in node.expressions)]
    nullable = all(p.nullable for p in parts)
    return Compiled(f"coalesce({', '.join(_finite(p) for p in parts)})", _same(parts), _joined(parts), nullable)


def _nullif(node: exp.Expr, sub: _Sub) -> Compiled:
    parts = [sub(node.this), sub(node.expression)]
    kind = _same(parts)
    return Compiled(f"nullif({parts[0].sql}, {parts[1].sql})", kind, parts[0].values)


def _extreme(name: str, node: exp.Expr, sub: _Sub) -> Compiled:
    parts = [_sql(p, Kind.NUMBER) for p in (sub(node.this), *(sub(e) for e in node.expressions))]
    return Compiled(f"{name}({', '.join(parts)})", Kind.NUMBER)


def _round(node: exp.Expr, sub: _Sub) -> Compiled:
    places = node.args.get("decimals")
    value = _sql(sub(node.this), Kind.NUMBER)
    if places is None:
        return Compiled(f"round({value})", Kind.NUMBER)
    if not (isinstance(places, exp.Literal) and str(places.this).isdigit() and int(places.this) <= 12):
        raise _refused("ROUND takes a constant number of places, at most 12")
    return Compiled(f"round(CAST({value} AS DOUBLE), {int(places.this)})", Kind.NUMBER)


def _substring(node: exp.Expr, sub: _Sub) -> Compiled:
    ends = [node.args.get(a) for a in ("start", "length")]
    if any(not isinstance(e, exp.Literal) or not str(e.this).isdigit() or int(e.this) > MAX_TEXT for e in ends):
        raise _refused("SUBSTR takes constants: from which character, and how many")
    start, length = (int(e.this) for e in ends if e is not None)
    return Compiled(f"substr({_sql(sub(node.this), Kind.TEXT)}, {start}, {length})", Kind.TEXT)


def _joined_text(node: exp.Expr, sub: _Sub) -> Compiled:
    """Cut, so that joining what was joined cannot grow without end."""
    two = [node.this, node.expression] if isinstance(node, exp.DPipe) else node.expressions
    parts = [_sql(sub(p), Kind.TEXT) for p in two]
    joined = f"({' || '.join(parts)})" if isinstance(node, exp.DPipe) else f"concat({', '.join(parts)})"
    return Compiled(f"substr({joined}, 1, {MAX_TEXT})", Kind.TEXT)


def _days_between(node: exp.Expr, sub: _Sub) -> Compiled:
    unit = node.args["unit"].name.lower()
    if unit not in ("day", "month", "year"):
        raise _refused("DATE_DIFF takes 'day', 'month' or 'year'")
    start, end = _dates([sub(node.expression), sub(node.this)])
    return Compiled(f"date_diff('{unit}', {_sql(start, Kind.DATE)}, {_sql(end, Kind.DATE)})", Kind.NUMBER)


def _extract(node: exp.Expr, sub: _Sub) -> Compiled:
    part = node.name.lower()
    if part not in ("year", "month", "day"):
        raise _refused("EXTRACT takes YEAR, MONTH or DAY")
    return Compiled(f"{part}({_sql(sub(node.expression), Kind.DATE)})", Kind.NUMBER)


_CASTS = {
    **dict.fromkeys(("INT", "BIGINT", "DOUBLE", "FLOAT", "DECIMAL", "SMALLINT"), ("DOUBLE", Kind.NUMBER)),
    **dict.fromkeys(("TEXT", "VARCHAR"), ("VARCHAR", Kind.TEXT)),
    "DATE": ("DATE", Kind.DATE),
}


def _cast(node: exp.Expr, sub: _Sub) -> Compiled:
    wanted = node.args["to"].this.name
    target = _CASTS.get(wanted)
    if target is None or node.args["to"].expressions:
        raise _refused("CAST goes to INTEGER, DOUBLE, TEXT or DATE")
    name, kind = target
    inner = sub(node.this)
    whole = wanted in ("INT", "BIGINT", "SMALLINT")
    cast = f"TRY_CAST({inner.sql} AS {name})"
    return Compiled(f"trunc({cast})" if whole else cast, kind)
