"""Disclosure rules for outputs without noise: pure functions from cells, or from content, to findings.

`counts` and `differencing` look at declared tables, whose cells trusted code has computed with who is behind them;
`claims` at what a notebook hands out as it is, where much can be seen and the rest needs eyes. `suppression` is what
trusted code does to a declared table when asked. Thresholds are the policy's. A finding's shape is `finding.Finding`;
people decide.
"""
