"""The attempts, a module a subject: reaching (network, files, processes, messages), rising (privileges, kernel), and
means (resources, outbox, covert). Importing them imports the standard library alone, as they are made inside a box.
"""

from . import covert, files, kernel, messages, network, outbox, privileges, processes, resources
from .registry import ATTEMPTS, Attempt, Bait, Control, Judge

__all__ = [
    "ATTEMPTS", "Attempt", "Bait", "Control", "Judge", "covert", "files", "kernel", "messages", "network", "outbox",
    "privileges", "processes", "resources",
]  # fmt: skip
