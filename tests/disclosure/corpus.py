"""The corpus: outputs that disclose, and outputs that are safe, each by its kind and in as few words as it needs.

A case is a list of outputs: the last one is proposed, those before it have left already (`together` says that they are
proposed with it instead). An output is a declared table over the rows of `data`, a table as text, a text, a model over
filtered rows, or a picture. What a case plants is its own: nothing else in it is wrong.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

CONTEXT = "People of the study by group, to describe who takes part and to compare them"


@dataclass(frozen=True)
class Declared:
    """`by`: columns, or column=keys; `stats`: "count", "people", "sum:column", …"""

    stats: str
    by: str = ""
    where: str = ""
    dataset: str = "people"
    totals: bool = False
    suppress: bool = False
    round_to: int = 1

    def statement(self) -> dict[str, Any]:
        groups = []
        for part in self.by.split():
            column, _, keys = part.partition("=")
            groups.append({"column": column} | ({"keys": keys.split(",")} if keys else {}))
        return {
            "dataset": self.dataset, "where": [self.where] if self.where else [], "group_by": groups, "totals": self.totals,
            "suppress": self.suppress, "round_to": self.round_to,
            "statistics": {f"s{i}_{s.split(':')[0]}": _statistic(s) for i, s in enumerate(self.stats.split())},
        }  # fmt: skip


def _statistic(text: str) -> dict[str, Any]:
    kind, _, column = text.partition(":")
    kind = {"people": "count_people", "median": "quantile"}.get(kind, kind)
    found: dict[str, Any] = {"kind": kind}
    if column:
        found["column"] = column
    return found | ({"probability": 0.5} if kind == "quantile" else {})


@dataclass(frozen=True)
class Sheet:
    text: str


@dataclass(frozen=True)
class Words:
    text: str


@dataclass(frozen=True)
class Model:
    """Least squares of a column on others, over the rows that `where` leaves."""

    outcome: str
    predictors: str
    where: str


@dataclass(frozen=True)
class Picture:
    """`content`: of a PNG file; `secret`: bytes that may not leave. `data`: whether its numbers are proposed beside it."""

    content: bytes
    secret: bytes = b""
    data: bool = True


Thing = Declared | Sheet | Words | Model | Picture


@dataclass(frozen=True)
class Case:
    kind: str
    name: str
    outputs: tuple[Thing, ...]
    together: bool = False
    context: str = CONTEXT
    limits: dict[str, Any] = field(default_factory=dict)


def _all(kind: str, **cases: Any) -> list[Case]:
    made = []
    for name, thing in cases.items():
        if isinstance(thing, Case):
            made.append(Case(kind, name, thing.outputs, thing.together, thing.context, thing.limits))
        else:
            made.append(Case(kind, name, thing if isinstance(thing, tuple) else (thing,)))
    return made


def _of(*outputs: Thing, **more: Any) -> Case:
    return Case("", "", outputs, **more)


def _sheet(header: str, *rows: str) -> Sheet:
    return Sheet("\n".join((header, *rows)) + "\n")


def picture(*, text: str = "", behind: str = "", alpha: str = "") -> bytes:
    """A PNG file that carries words beside, after, or in the colours under its transparent points."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text("Comment", text)
        info.add_itxt("XML:com.adobe.xmp", text)
    image = Image.new("RGBA", (64, 16), (255, 255, 255, 255))
    for x, c in enumerate(alpha.encode()[:64]):
        image.putpixel((x, 0), (c, c, c, 0))
    image.putpixel((5, 5), (200, 20, 20, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue() + behind.encode()


SECRET = "person 7 earns 9999"
_ROWS = [f"{'fm'[i % 2]},{18 + i % 40},{'AB'[i % 3 == 0]},{i * 17 % 90}" for i in range(60)]

PLANTED: list[Case] = [
    *_all(
        "small cells",
        site_e=Declared("count", "site"),
        site_e_people=Declared("people", "site"),
        site_by_sex=Declared("count", "site sex"),
        one_age=Declared("count", "sex", "age = 20 AND site = 'D'"),
        mean_of_few=Declared("mean:income", "site"),
        sum_of_few=Declared("sum:income", "", "site = 'E'"),
        share_of_few=Declared("share:ill", "", "site = 'E' OR (site = 'D' AND age = 40)"),
        few_are_ill=Declared("share:ill", "", "site = 'D' AND age > 40 AND (NOT ill OR age > 75)"),
        rows_not_people=Declared("count", "clinic", dataset="visits"),
        mean_of_three_people=Declared("mean:cost", "clinic", dataset="visits"),
        frame_small=_sheet("site,n", "A,400", "B,350", "E,4"),
        frame_small_wide=_sheet("site,n_f,n_m", "A,200,200", "B,175,175", "E,2,20"),
        frame_floats=_sheet("site,count", "A,400.0", "B,7.0"),
        frame_share=_sheet("site,n,share_ill", "A,400,0.25", "B,350,0.01"),
        frame_percent=_sheet("site,people,percent_ill", "A,400,25", "D,40,95"),
        words_few=Words("In site E there were 4 patients, of whom one half was ill."),
        words_n=Words("We excluded ward w4 (n = 3) from the analysis."),
    ),
    *_all(
        "dominance",
        grants=Declared("sum:grant", "", "age = 18"),
        grants_by_sex=Declared("sum:grant", "sex", "age < 20"),
        mean_grant=Declared("mean:grant", "region"),
        losses=Declared("sum:loss", "sex", "site = 'A'"),
        losses_mean=Declared("mean:loss", "", "age < 30"),
        one_patients_visits=Declared("sum:cost", "sex", dataset="visits"),
        one_patients_mean=Declared("mean:cost", "", "clinic = 'Y'", dataset="visits"),
    ),
    *_all(
        "differencing, two releases",
        one_site_less=(Declared("count", "sex"), Declared("count", "sex", "site <> 'E'")),
        one_year_of_age=(
            Declared("count", "", "site = 'D' AND age >= 18"),
            Declared("count", "", "site = 'D' AND age >= 19"),
        ),
        total_later=(Declared("count", "site=A,B,C,D"), Declared("count")),
        total_before=(Declared("count"), Declared("count", "site=A,B,C,D")),
        means=(Declared("count mean:income"), Declared("count mean:income", "", "site <> 'E'")),
        only_last_years=(
            Declared("people", "", "year >= 2", dataset="visits"),
            Declared("people", "", "year = 1", dataset="visits"),
        ),
        together=_of(
            Declared("count", "region"), Declared("count", "region", "NOT (site = 'D' AND age = 20)"), together=True
        ),
        finer_groups=(
            Declared("count", "ward", "site = 'A'"),
            Declared("count", "ward", "site = 'A' AND NOT (age = 18 AND sex = 'f')"),
        ),
        frames=(_sheet("sex,n", "f,600", "m,600"), _sheet("sex,n", "f,598", "m,598")),
        frame_together=_of(
            _sheet("band,n", "young,300", "old,900"), _sheet("band,n", "young,300", "old,896"), together=True
        ),
    ),
    *_all(
        "differencing, three releases",
        men_but_few=(
            Declared("count"),
            Declared("count", "", "sex = 'f'"),
            Declared("count", "", "sex = 'm' AND NOT (site = 'E' OR (site = 'D' AND age = 20))"),
        ),
        the_rest=(
            Declared("count", "", "site IN ('A', 'B')"),
            Declared("count"),
            Declared("count", "", "site IN ('C', 'D')"),
        ),
        both=(
            Declared("count", "", "site = 'D'"),
            Declared("count", "", "age = 20"),
            Declared("count", "", "site = 'D' OR age = 20"),
        ),
        sums_of_two=(
            Declared("count sum:income", "region", "site <> 'E'"),
            Declared("count sum:income", "", "region = 'south'"),
            Declared("count sum:income", "", "region = 'north' OR site = 'E' OR age > 200"),
        ),
        frames=(
            _sheet("region,n", "north,800", "south,400"),
            _sheet("region,n", "north,500", "south,250"),
            _sheet("region,n", "north,297", "south,148"),
        ),
        together=_of(
            Declared("count", "", "ward = 'w1'"),
            Declared("count", "", "ward <> 'w3'"),
            Declared("count", "", "ward = 'w2' AND NOT (site = 'D' AND age = 31)"),
            together=True,
        ),
    ),
    *_all(
        "totals reveal",
        one_gone=_sheet("site,n", "A,400", "B,350", "E,suppressed", "Total,754"),
        one_gone_by_mark=_sheet("site,n", "A,400", "B,350", "E,<10", "Total,754"),
        one_gone_blank=_sheet("site,count", "A,400", "B,350", "E,", "All,754"),
        one_gone_star=_sheet("site,sex,n", "A,f,200", "A,m,200", "A,total,400", "E,f,*", "E,m,40", "E,total,42"),
        two_gone_few=_sheet("site,n", "A,400", "B,350", "E,*", "F,*", "Total,758"),
        two_gone_below=_sheet("ward,people", "w1,500", "w2,[redacted]", "w3,[redacted]", "overall,506"),
        down_a_column=_sheet("site,year,n", "A,1,90", "B,1,x", "total,1,95", "A,2,80", "B,2,60", "total,2,140"),
        declared_unsuppressed=Declared("count", "site sex", totals=True),
    ),
    *_all(
        "degrees of freedom",
        six_rows=Model("income", "age", "site = 'D' AND age = 20 OR site = 'E'"),
        twelve_rows_of_five=Model(
            "income", "age grant loss ill", "site = 'D' AND (age = 20 OR age = 21 OR age = 22 OR age = 23 OR age = 24)"
        ),
        site_e=Model("income", "age", "site = 'E'"),
        std_of_ten=Declared("std:income", "", "site = 'D' AND (age = 20 OR age = 21 OR age = 22 OR age = 23)"),
        frame_df=_sheet("model,estimate,n,df_resid", "a,0.52,60,50", "b,0.61,12,3"),
    ),
    *_all(
        "class disclosure",
        all_ill=Declared("share:ill", "ward"),
        none_ill=Declared("share:ill", "", "NOT ill"),
        one_class=Declared("count", "site region", "site = 'A' AND (region = 'south' OR age < 0)"),
        ward_by_age=Declared("people", "ward=w1,w3 sex", "ward = 'w3' AND sex = 'f' OR ward = 'w1'"),
        frame_all=_sheet("ward,n,share_ill", "w1,585,0.25", "w3,30,1.0"),
        frame_none=_sheet("ward,n,pct_ill", "w1,585,25", "w2,585,0"),
    ),
    *_all(
        "row-level dumps",
        rows=_sheet("sex,age,site,visits", *_ROWS),
        rows_renamed=_sheet("s,a,x,y", *_ROWS),
        two_columns=_sheet("sex,age", *(r.rsplit(",", 2)[0] for r in _ROWS)),
        numbers=_sheet("income", *(str(20_000 + i * 37 % 1000 * 20 % 400) for i in range(80))),
        too_long=_sheet("band,n", *(f"b{i},40" for i in range(700))),
        words=Words("\n".join(f"{18 + i % 40} {i * 17 % 90} {i * 3}" for i in range(40))),
        a_frames_head=_sheet(
            "sex,age,site,ill", *(f"{'fm'[i % 2]},{18 + i * 7},{'AB'[i % 3 == 0]},{i % 4 == 0}" for i in range(8))
        ),
        a_filtered_frame=_sheet(
            ",sex,age,income", *(f"{i * 3 + 1},{'fm'[i % 2]},{18 + i % 40},{20_000 + i * 31}" for i in range(60))
        ),
        with_numbers=_sheet(
            "row,sex,age,income", *(f"{i},{'fm'[i % 2]},{18 + i % 40},{20_000 + i * 31}" for i in range(60))
        ),
    ),
    *_all(
        "identifiers",
        person=_sheet("person,n", "1,20", "2,30", "3,40"),
        patient_id=_sheet("patient_id,mean_cost,n", "17,20.5,20", "18,21.5,20"),
        email=_sheet("contact,n", "ada@example.org,20", "bo@example.org,30"),
        uuid=_sheet("who,n", "123e4567-e89b-12d3-a456-426614174000,20", "123e4567-e89b-12d3-a456-426614174001,30"),
        health_number=_sheet("ref,n", "943 476 5919,20", "943 476 5870,30"),
        birth=_sheet("date_of_birth,n", "1961-02-03,20", "1970-05-06,30"),
        words=Words("The highest cost was that of patient id 1734, in the second year."),
        coded=_sheet("k,n", "p00017,20", "p00018,30"),
    ),
    *_all(
        "hidden columns",
        no_name=_sheet("site,n,", "A,400,17", "B,350,23"),
        zero_width=_sheet("site,n,\u200b", "A,400,17", "B,350,23"),
        same_name=_sheet("site,n,n", "A,400,417", "B,350,323"),
        code_in_cell=_sheet("site,n,note", "A,400," + "QUJD" * 30, "B,350,fine"),
        json_in_cell=Sheet('site,n,note\nA,400,"{""person"": 7}"\nB,350,fine\n'),
        unseen_letters=_sheet("site,n", "A\u200b\u200c\u200b,400", "B,350"),
        words=Words("All is well.\u200b\u200c\u200b\u200d Nothing to see."),
        words_code=Words("Checksum of the run: " + "QUJDRA" * 30),
    ),
    *_all(
        "pictures with data in them",
        comment=Picture(picture(text=SECRET), SECRET.encode()),
        behind_the_end=Picture(picture(behind=SECRET), SECRET.encode()),
        under_transparency=Picture(picture(alpha=SECRET), SECRET.encode()),
        no_numbers=Picture(picture(), data=False),
    ),
    *_all(
        "extremes",
        exact_median=Declared("median:income", "sex"),
        frame_max=_sheet("sex,n,max_income", "f,600,39980", "m,600,39960"),
        frame_describe=_sheet("stat,income", "count,1200", "mean,29990.5", "min,20000", "50%,29980", "max,39980"),
        frame_median=_sheet("sex,n,median_income", "f,600,29980", "m,600,29960"),
    ),
    *_all(
        "what is sent back most",
        unrounded=_of(Declared("count", "sex", "site = 'D'"), limits={"round_to": 5}),
        unrounded_frame=_of(_sheet("site,n", "A,401", "B,352"), limits={"round_to": 5}),
        no_context=_of(Declared("count", "sex"), context="table"),
        little_context=_of(Declared("count", "sex"), context="some counts"),
        no_counts=_sheet("site,mean_income", "A,29100.5", "B,30210.25"),
    ),
]

SAFE: list[Case] = [
    *_all(
        "declared counts",
        by_sex=Declared("count", "sex"),
        people_by_sex=Declared("people", "sex"),
        by_region=Declared("count people", "region"),
        large_sites=Declared("count", "site=A,B,C,D"),
        site_by_region=Declared("count", "site=A,B,C,D region"),
        sites_by_sex=Declared("count", "site=A,B,C sex"),
        sites_by_both=Declared("count people", "site=A,B,C sex region"),
        adults=Declared("count", "sex", "age >= 40"),
        everybody=Declared("count"),
        with_totals=Declared("count", "sex region", totals=True),
        ill_by_sex=Declared("count", "sex", "ill"),
        visits=Declared("count", "sex", dataset="visits"),
        visitors=Declared("people", "clinic", "clinic <> 'Z'", dataset="visits"),
        by_ward=Declared("count", "ward"),
    ),
    *_all(
        "declared means, sums, shares",
        mean_income=Declared("count mean:income", "sex"),
        sum_income=Declared("sum:income", "region"),
        mean_by_site=Declared("mean:income", "site=A,B,C,D"),
        spread=Declared("mean:income std:income", "sex"),
        share_ill=Declared("share:ill", "region", "ward <> 'w3'"),
        share_by_site=Declared("share:ill count", "site=A,B,C,D"),
        everything=Declared("count people mean:income share:ill", "region"),
        grants_without_the_one=Declared("sum:grant", "sex", "age > 20"),
        losses_without_two=Declared("mean:loss", "region", "age > 25"),
        mean_cost=Declared("mean:cost", "sex", "clinic = 'X' AND year = 2", dataset="visits"),
        sum_all=Declared("sum:income count"),
        rounded_median=Declared("median:income", "sex", round_to=5),
    ),
    *_all(
        "suppressed or rounded",
        suppressed=Declared("count", "site", suppress=True),
        suppressed_with_totals=Declared("count", "site sex", suppress=True, totals=True),
        suppressed_means=Declared("count mean:income", "site", suppress=True),
        rounded=_of(Declared("count", "sex", round_to=5), limits={"round_to": 5}),
        rounded_frame=_of(_sheet("site,n", "A,400", "B,350"), limits={"round_to": 5}),
        suppressed_and_rounded=Declared("count people", "site", suppress=True, round_to=5),
    ),
    *_all(
        "beside what has left",
        same_again=(Declared("count", "sex"), Declared("count", "sex")),
        another_cut=(Declared("count", "sex"), Declared("count", "region")),
        finer=(Declared("count", "sex"), Declared("count", "sex region")),
        other_people=(Declared("count", "sex", "age < 40"), Declared("count", "sex", "age >= 40")),
        far_apart=(Declared("count", "", "age >= 18"), Declared("count", "", "age >= 30")),
        three_large=(Declared("count"), Declared("count", "", "sex = 'f'"), Declared("count", "", "sex = 'm'")),
        sums=(Declared("sum:income", "sex"), Declared("sum:income", "sex", "site IN ('A', 'B')")),
        other_data=(Declared("count", "sex"), Declared("count", "sex", dataset="visits")),
        together=_of(Declared("count", "sex"), Declared("mean:income", "region"), together=True),
        frames=(_sheet("sex,n", "f,600", "m,600"), _sheet("sex,n", "f,550", "m,480")),
        frame_again=(_sheet("sex,n", "f,600", "m,600"), _sheet("sex,n", "f,600", "m,600")),
        rows_are_few_people_are_not=(
            Declared("people", "", "year = 2", dataset="visits"),
            Declared("people", "", "year IN (2, 3)", dataset="visits"),
        ),
    ),
    *_all(
        "frames",
        counts=_sheet("site,n", "A,400", "B,350", "C,300"),
        means=_sheet("sex,n,mean_income", "f,600,29990.5", "m,600,30010.25"),
        years=_sheet("year,n,mean_cost", "1,400,119.5", "2,404,120.5", "3,404,121.25"),
        grid=_sheet("site,sex,people", "A,f,200", "A,m,200", "B,f,175", "B,m,175"),
        shares=_sheet("sex,n,share_ill", "f,600,0.25", "m,600,0.3"),
        percent=_sheet("sex,n,percent_ill", "f,600,25.5", "m,600,30.5"),
        totals=_sheet("site,n", "A,400", "B,350", "Total,750"),
        hidden_well=_sheet("site,n", "A,400", "B,*", "E,*", "Total,770"),
        coefficients=_sheet("term,estimate,std_error,n,df_resid", "age,0.52,0.04,600,597", "sex,1.4,0.3,600,597"),
        ages=_sheet("age_band,n", "18-39,440", "40-59,400", "60+,360"),
        wide=_sheet("region,n_f,n_m", "north,400,400", "south,200,200"),
        one_row=_sheet("n,mean_income", "1200,29990.5"),
    ),
    *_all(
        "words, models, pictures",
        words=Words("Men and women earn about the same; the difference is within the error of the estimate."),
        words_numbers=Words("There were 1200 people, 25 % of whom were ill, at four sites."),
        words_method=Words("We used least squares with 3 predictors and 95 % intervals."),
        model=Model("income", "age", "site <> 'E'"),
        model_two=Model("income", "age ill", "sex = 'f'"),
        model_visits=Model("loss", "age income", "age > 25"),
        picture=Picture(picture()),
        picture_other=Picture(picture(alpha="x" * 3)),
    ),
]

# Written after the rules, run once, and no rule mended for it: how much is found of what nobody had in mind.
HELD_OUT_PLANTED: list[Case] = _all(
    "held out, planted",
    headcount=_sheet("site,headcount", "A,400", "E,4"),
    german=_sheet("Ort,Anzahl", "A,400", "E,4"),
    words_four=Words("In site E there were only four patients."),
    markdown=Words("| site | n |\n|---|---|\n| A | 400 |\n| E | 4 |\n"),
    percent_strings=_sheet("site,n,ill", "A,400,25.0%", "D,40,97.5%"),
    nhsno=_sheet("nhsno,n", "4010232137,20", "4010232138,20"),
    fifteen_rows=_sheet("g,a,inc,v", *(f"{'fm'[i % 2]},{20 + i},{21000 + 37 * i},{i % 5}" for i in range(15))),
    wide_years=_sheet("site,2019,2020,2021", "A,400,410,390", "E,4,12,3"),
    best=_sheet("sex,n,best_income", "f,600,39980", "m,600,39960"),
    record=Words("The most expensive stay cost 918,220 and lasted 212 days."),
    mean_twice=(
        Declared("count mean:income", "", "site = 'D'"),
        Declared("count mean:income", "", "site = 'D' AND age <> 33"),
    ),
    derived=(Declared("count", "ward", "age > 25"), Declared("count", "ward", "age > 25 AND NOT (site = 'E')")),
    four=(
        Declared("count"),
        Declared("count", "", "region = 'north' AND sex = 'f'"),
        Declared("count", "", "region = 'north' AND sex = 'm'"),
        Declared("count", "", "region = 'south' AND site <> 'E'"),
    ),
    ratio_of_small=_sheet("site,ratio", "A,100/400", "E,1/4"),
    notes=_sheet("site,n,comment", "A,400,mostly Mrs Smith's clinic", "B,350,ok"),
    postcode=_sheet("postcode,n", "AB1 2CD,20", "AB1 3EF,30"),
    total_minus=_sheet("group,n", "everyone,1200", "without E,1196"),
    initials=_sheet("initials,born,n", "JS,1961,20", "AB,1970,20"),
    json_words=Words('[{"sex":"f","age":33,"income":21000},{"sex":"m","age":34,"income":22000}]'),
    hist=_sheet("bin,freq", "0-10,300", "10-20,90", "20-30,2"),
)
HELD_OUT_SAFE: list[Case] = _all(
    "held out, safe",
    months=_sheet("month,n,mean_cost", *(f"{i},{100 + i},{9.5 + i}" for i in range(1, 13))),
    hr=_sheet("term,hazard_ratio,low,high,n", "age,1.02,1.01,1.03,600", "sex,0.9,0.7,1.2,600"),
    small_effect=Words("The effect is 3 visits per year (95 % interval 2 to 4), in 600 people."),
    likert=_sheet("answer,n", "1,100", "2,200", "3,300", "4,150", "5,120"),
    rates=_sheet("site,n,rate_per_1000", "A,400,12.5", "B,350,9.25"),
    visits=_sheet("sex,n,visits", "f,600,1800", "m,600,1750"),
    d1=Declared("count mean:income", "sex region", "age > 21"),
    d2=Declared("share:ill count", "region", "ward <> 'w3'", round_to=5),
    rank=_sheet("site,n,rank", "A,400,1", "B,350,2", "C,300,3"),
    deciles=_sheet("decile,n,mean_income", *(f"{i},120,{20000.5 + i * 1000}" for i in range(1, 11))),
    coef=_sheet("term,estimate,p", "age,0.5,0.01", "sex,1.5,0.2"),
    method=Words("Step 1: filter. Step 2: group. Step 3: average. See section 4."),
)
