"""How a fault of ours is told: to the desk in one fixed sentence, to the operator by its type and place."""

from __future__ import annotations

import traceback

from tre.messages import Failure

OUR_FAULT = Failure(
    code="internal_error",
    message="Something went wrong on our side.",
    next_step="Submit again; if it happens twice, tell an admin the job's number.",
)


def fault(error: Exception) -> str:
    """Where and of what type: an exception's own text could quote a value of a row."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename.rpartition('/tre/')[2]}:{f.lineno}" for f in frames if "/tre/" in f.filename]
    return f"{type(error).__name__} at {' < '.join(reversed(places)) or 'an unknown place'}"
