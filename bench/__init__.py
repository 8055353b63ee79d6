"""Figures of speed: ratios of two things run side by side, in one run, on one machine. No test passes or fails by them.

    python -m bench [check] [submit] [ledger] [--quick] [--repeats N]

What is guaranteed: the things compared alternate, in an order that rotates, after a round that is not counted; they
read the same bytes and are seen to give the same numbers (where one has noise, before it is added); the ratio is the
median over rounds of the two times *of one round*, so that a machine that slows down half-way slows both.
What is not: absolute seconds mean nothing on a machine shared with others, whose load is therefore written down beside
them. A few repeats show a factor, not per cents.

`measure` alternates and divides, `report` prints and plots; each other module is a subject, or what a subject needs.
"""
