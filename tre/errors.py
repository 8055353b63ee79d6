"""Every error of `tre`: a small tree, each with a stable code, a sentence and the next step.

Guarantees: a message is written from names, limits and rules that are public; no value of a row ever enters one
(the functions that raise are given none to put in). `code` is stable across versions: scripts may match on it.
Not done here: turning errors into HTTP answers (gateway.problems) or exit codes' printing (the two CLIs).
"""

from __future__ import annotations


class TreError(Exception):
    """Base of all: `code` is stable, `message` says what happened, `next_step` what to do about it."""

    exit_code = 1
    http_status = 400

    def __init__(self, code: str, message: str, next_step: str) -> None:
        super().__init__(f"{message} {next_step} [{code}]")
        self.code = code
        self.message = message
        self.next_step = next_step

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a stack: for these errors the place in our code helps nobody."""
        return [f"{type(self).__name__} [{self.code}]: {self.message}", f"Next step: {self.next_step}"]


class RequestError(TreError):
    """A statistic, filter, bound or name in a notebook's request is not acceptable."""

    exit_code = 3
    http_status = 422


class NotebookError(TreError):
    """What was submitted is not an acceptable notebook, or its parameters are not."""

    exit_code = 3
    http_status = 422


class PolicyError(TreError):
    """A policy file is invalid, or a policy forbids what was asked."""

    exit_code = 4
    http_status = 422


class DataError(TreError):
    """A file does not fit its declared schema, or a dataset or version is not there."""

    exit_code = 4
    http_status = 422


class NotAllowed(TreError):
    """The person may not do this: role, project or rule of review."""

    exit_code = 5
    http_status = 403


class NotFound(TreError):
    """Nothing of that name, or nothing that this person may know of."""

    exit_code = 6
    http_status = 404


class Conflict(TreError):
    """The thing is in a state in which this cannot be done."""

    exit_code = 7
    http_status = 409


class BudgetExceeded(TreError):
    """The ledger cannot cover the plan. Nothing was charged."""

    exit_code = 8
    http_status = 409


class VerificationFailed(TreError):
    """A bundle or receipt is not what was signed."""

    exit_code = 9


class SandboxError(TreError):
    """The isolation that real data needs is not to be had on this machine, or broke."""

    exit_code = 10
    http_status = 503


class Unreachable(TreError):
    """The gateway does not answer, or the desk does not know where it is."""

    exit_code = 11
    http_status = 503
