"""Figures, of things run side by side, in one run, on one machine. No test passes or fails by them.

    python -m bench [check] [submit] [ledger] [cost] [accuracy] [proof] [disclosure] [quality] [lab]
        [--quick] [--full] [--repeats N]

Of speed (check, submit, cost): the things compared alternate, in an order that rotates, after a round that is not
counted; they read the same bytes and are seen to give the same numbers (where one has noise, before it is added); the
ratio is the median over rounds of the two times *of one round*, so that a machine that slows down half-way slows both.
Of the guarantee (proof): the audits of tests/proof with more draws.
Of disclosure: the planted and the safe outputs of tests/disclosure, beside ACRO.
Of quality: ten million rows validated with keys, time and peak memory; and fewer beside frictionless, with the same counts.
Of JupyterLab (lab): its start with the extension and without it, by turns, and what the extension weighs.
Of error (accuracy): every library answers the same questions on the same rows with one (epsilon, delta).
What is not guaranteed: absolute seconds mean nothing on a machine shared with others, whose load is therefore written
down beside them. A few repeats show a factor, not per cents.
cost, accuracy, disclosure and quality install other libraries, each in an environment of its own, and run only when they are named.

`measure` alternates and divides, `report` prints and plots; `errors` and `errors_report` do the like for errors. `peers`
holds the other libraries, `workloads` what they are asked, `ours` our own answer to it, `baselines` two plain ones. Each
other module is a subject, or what a subject needs.
"""
