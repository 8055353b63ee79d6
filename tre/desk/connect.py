"""How the desk finds its gateway: TRE_URL and TRE_TOKEN, else what `tre login` saved."""

from __future__ import annotations

import json
import os

import click

from tre.client import Client
from tre.desk.store import Store
from tre.errors import Unreachable


def configured() -> Client | None:
    """None when neither the environment nor a login says where the gateway is."""
    url, token = os.environ.get("TRE_URL"), os.environ.get("TRE_TOKEN")
    if not (url and token):
        login = Store.default().login
        if not login.is_file():
            return None
        saved = json.loads(login.read_text())
        url, token = url or saved["url"], token or saved["token"]
    return Client(url, token)


def needed() -> Client:
    """Raises Unreachable with the next step."""
    client = configured()
    if client is None:
        raise Unreachable(
            "login_missing", "This desk does not know its gateway.", "Set TRE_URL and TRE_TOKEN, or run: tre login URL"
        )
    return client


def of_command() -> Client:
    """For one command: closed at its end, as in a notebook the process lives on; a weaker isolation is said before that."""
    from tre.desk import show

    client, context = needed(), click.get_current_context()
    context.call_on_close(client.close)
    context.call_on_close(lambda: show.isolation(client.isolation))
    return client
