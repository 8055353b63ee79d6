"""A real JupyterHub, from the configuration that is shipped, with what must be different on one machine: who may sign in
how, where servers lie, ports. Its people are those of that file; a token "of one's own" is made as people make it.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from bench import peers

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy/jupyterhub/jupyterhub_config.py"
PASSWORD = "a-password-for-tests"
SECRET = "a-secret-of-the-gateways-for-tests"
HERE = """
import os
load_subconfig({config!r})
c = get_config()
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {password!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.environment |= {{"JUPYTER_PATH": {kernels!r}}}
if {careless!r}:  # what a Hub's admin may one day set up: this server's token is one for deciding, and says of no server
    shipped = c.Spawner.server_token_scopes
    c.Spawner.server_token_scopes = lambda spawner: (
        ["access:services!service=tre-gateway", "custom:tre:outputs:review"] if spawner.user.name == {careless!r} else shipped
    )
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.bind_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
"""


def unavailable():
    """Why no Hub can be started here; None where it can."""
    if peers.made("jupyterhub") is None:
        return """no JupyterHub here: python -c 'from bench import peers; peers.environment("jupyterhub")'"""
    return None


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in taken]
    for s in taken:
        s.close()
    return ports


class JupyterHub:
    """Nothing runs before `start`, so that a gateway can be told the address first."""

    def __init__(self, folder, *, careless=""):
        """`careless`: a person whose server's token may decide, as far as this Hub is concerned."""
        self.folder, self.careless = folder, careless
        self.proxy, self.hub, self.api_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.proxy}"
        self.api = f"{self.url}/hub/api"
        self.process = None

    def start(self, gateway):
        self._kernel()
        config = self.folder / "config.py"
        config.write_text(
            HERE.format(
                config=str(CONFIG), password=PASSWORD, homes=str(self.folder / "homes"), kernels=str(self.folder / "jupyter"),
                careless=self.careless, proxy=self.proxy, hub=self.hub, api=self.api_port,
            )
        )  # fmt: skip
        place = peers.made("jupyterhub").parent
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TRE_", "JUPYTER"))}
        environment = {
            **clean,
            "PATH": f"{place}:/usr/bin:/bin",
            "TRE_GATEWAY": gateway,
            "TRE_HUB_SECRET": SECRET,
            "HOME": str(self.folder),
        }
        with (self.folder / "hub.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(place / "jupyterhub"), "-f", str(config)], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self._until(lambda: httpx.get(f"{self.api}/", trust_env=False).is_success)
        return self

    def _kernel(self):
        """Kernels are of the environment that has `tre`; the Hub and its servers need none of it."""
        spec = self.folder / "jupyter" / "kernels" / "tre" / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "tre", "language": "python"}))

    def _until(self, there):
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.log()
            try:
                if there():
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def log(self):
        return (self.folder / "hub.log").read_text()

    def stop(self):
        """The Hub; it ends its servers and its proxy."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    # As a person

    @contextmanager
    def browser(self, name):
        """Signed in by the form."""
        with httpx.Client(base_url=self.url, follow_redirects=True, trust_env=False, timeout=30) as browser:
            browser.get("/hub/login")
            form = {"username": name, "password": PASSWORD, "_xsrf": _mark(browser)}
            browser.post("/hub/login", data=form, params={"next": "/hub/home"}).raise_for_status()
            yield browser

    def own_token(self, name, *scopes):
        """Made on the page of tokens; without scopes it can do all that its person can."""
        with self.browser(name) as browser:
            made = browser.post(
                f"/hub/api/users/{name}/tokens",
                json={"note": "tests"} | ({"scopes": scopes} if scopes else {}),
                headers={"x-xsrftoken": _mark(browser)},
            )
            return made.raise_for_status().json()["token"]

    def servers(self, tokens):
        """Each person's own server, by the token of each: started, all at once."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            mine = {name: {"authorization": f"token {token}"} for name, token in tokens.items()}
            for name, headers in mine.items():
                client.post(f"{self.api}/users/{name}/server", json={}, headers=headers).raise_for_status()
            for name, headers in mine.items():
                status = f"{self.url}/user/{name}/api/status"
                self._until(lambda: client.get(status, headers=headers).status_code == 200)  # noqa: B023  # called at once

    def kernel(self, name, token, code):
        """What the code prints in a new kernel of the person's server."""
        headers = {"authorization": f"token {token}"}
        made = httpx.post(
            f"{self.url}/user/{name}/api/kernels", json={"name": "tre"}, headers=headers, trust_env=False, timeout=60
        )
        address = f"ws://127.0.0.1:{self.proxy}/user/{name}/api/kernels/{made.raise_for_status().json()['id']}/channels"
        return asyncio.run(executed(HTTPRequest(address, headers=headers), code))


def _mark(browser):
    """Against forms of other pages: the last one set."""
    return [c.value for c in browser.cookies.jar if c.name == "_xsrf"][-1]


async def executed(request, code):
    """What the code prints, in the kernel whose channels these are."""
    channels = await websocket_connect(request)
    try:
        header = {
            "msg_id": "a",
            "msg_type": "execute_request",
            "username": "",
            "session": "s",
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "allow_stdin": False, "store_history": False}
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }
        await channels.write_message(json.dumps(message))
        return await _printed(channels)
    finally:
        channels.close()
        while await channels.read_message() is not None:
            pass


async def _printed(channels):
    printed = ""
    while True:
        read = json.loads(await asyncio.wait_for(channels.read_message(), 120))
        if read["parent_header"].get("msg_id") != "a":
            continue
        if read["msg_type"] == "stream":
            printed += read["content"]["text"]
        if read["msg_type"] == "error":
            raise AssertionError("\n".join(read["content"]["traceback"]))
        if read["msg_type"] == "status" and read["content"]["execution_state"] == "idle":
            return printed
