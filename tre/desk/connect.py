"""How the desk finds its gateway: TRE_URL and TRE_TOKEN, else what `tre login` saved; in a server of a JupyterHub, which sets
TRE_URL (deploy/jupyterhub), else by that server's own token.
"""

from __future__ import annotations

import json
import os

import click

from tre.client import Client
from tre.desk.store import Store
from tre.errors import Unreachable


def configured() -> Client | None:
    """None when nothing says where the gateway is, or who asks."""
    url, token = os.environ.get("TRE_URL"), os.environ.get("TRE_TOKEN")
    if not (url and token):
        login = Store.default().login
        saved = json.loads(login.read_text()) if login.is_file() else {}
        of_hub = os.environ.get("JUPYTERHUB_API_TOKEN") if url else None
        if of_hub and saved.get("url") != url:  # a login elsewhere is for elsewhere
            saved = {}
        url, token = url or saved.get("url"), token or saved.get("token") or of_hub
    return Client(url, token) if url and token else None


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
