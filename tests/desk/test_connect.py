"""How a desk finds its gateway: what was said by hand comes first, then a login, then the Hub that the desk is in."""

import pytest

from tre.desk import connect
from tre.desk.store import Store

GATEWAY, OTHER = "https://tre.example.org", "https://other.example.org"


@pytest.mark.parametrize(
    ("environment", "login", "found"),
    [
        ({}, None, None),
        ({"TRE_URL": GATEWAY}, None, None),
        ({"TRE_URL": GATEWAY, "TRE_TOKEN": "mine"}, (OTHER, "saved"), (GATEWAY, "mine")),
        ({}, (OTHER, "saved"), (OTHER, "saved")),
        ({"TRE_URL": GATEWAY}, (OTHER, "saved"), (GATEWAY, "saved")),
        # In a Hub, which sets TRE_URL:
        ({"TRE_URL": GATEWAY, "JUPYTERHUB_API_TOKEN": "server"}, None, (GATEWAY, "server")),
        ({"TRE_URL": GATEWAY, "JUPYTERHUB_API_TOKEN": "server"}, (GATEWAY, "saved"), (GATEWAY, "saved")),
        ({"TRE_URL": GATEWAY, "JUPYTERHUB_API_TOKEN": "server"}, (OTHER, "saved"), (GATEWAY, "server")),
        ({"TRE_URL": GATEWAY, "TRE_TOKEN": "mine", "JUPYTERHUB_API_TOKEN": "server"}, None, (GATEWAY, "mine")),
        # A Hub's token goes to no gateway that this Hub did not name.
        ({"JUPYTERHUB_API_TOKEN": "server"}, None, None),
        ({"JUPYTERHUB_API_TOKEN": "server"}, (OTHER, "saved"), (OTHER, "saved")),
    ],
)
def test_where_the_gateway_is_and_who_asks(tmp_path, monkeypatch, environment, login, found):
    for name in ("TRE_URL", "TRE_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TRE_HOME": str(tmp_path)} | environment).items():
        monkeypatch.setenv(name, value)
    if login is not None:
        Store(tmp_path).save_login(*login)
    client = connect.configured()
    told = None if client is None else (client.url, client._http.headers["authorization"].removeprefix("Bearer "))
    if client is not None:
        client.close()
    assert told == found
