"""From a request to a noisy value: the same code computes the rehearsal on the twin and the check on real rows.

The steps, in order: `request` (the closed language) → `prepare` (against the declared schema: keys, bounds, what is to
be measured) → `aggregate` (exact whole numbers, by DuckDB) → `noise` (OpenDP) → `result` (values and intervals).
`evaluate` runs them. Not done here: charging, storing, reading anything but one Parquet file.
"""
