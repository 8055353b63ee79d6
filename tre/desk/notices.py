"""What one is told of one's requests, in a terminal: the list, and a line below the lists of jobs and reviews."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from tre.desk.connect import of_command
from tre.rules.notices import where, words
from tre.terminal import json_option, table


@click.command()
@click.option("--all", "everything", is_flag=True, help="Those that were read as well.")
@click.option("--read", is_flag=True, help="Mark what is shown as read.")
@json_option
def notices(everything: bool, read: bool, show: Console) -> Any:
    """What has become of your requests, and what waits for you; the newest first.

    \b
    Examples: tre notices
              tre notices --read
    """
    client = of_command()
    found = [n for n in client.notices() if everything or not n.read]
    rows = [
        (n.at, n.about, n.project, words(n.told, exception=n.exception), "" if n.read else where(n.told, n.about))
        for n in found
    ]
    show.print(table("Notices" if everything else "Unread notices", ("at", "id", "project", "told", "next"), rows))
    unread = [n.id for n in found if not n.read]
    if read and unread:
        client.read_notices(unread)
        show.print(f"{len(unread)} marked as read.")
    return found


def hint(show: Console, client: Any) -> None:
    """Below something else that a person looks at: that there are some. Machines ask for them."""
    if show.quiet:
        return
    unread = sum(not n.read for n in client.notices())
    if unread:
        show.print(f"{unread} unread notice{'' if unread == 1 else 's'}: tre notices")
