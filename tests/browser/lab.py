"""A real JupyterLab as a person has it at their desk, and a page of it in Debian's Chromium, by Playwright.

The server's folders are its own; the extension of the page is copied from the source, so that what is tested is what is here.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

SOURCE = Path(__file__).resolve().parents[2] / "tre/desk/lab/extension"
TOKEN = "0123456789abcdef" * 2
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@tre/lab:plugin": {"pollSeconds": 1},
}
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage",
)  # fmt: skip


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Lab:
    """One person's server. `python`: the interpreter of another environment with another JupyterLab; `extension`: whether ours
    is there, beside nothing else."""

    def __init__(self, folder, area, person, *, python=sys.executable, lab="jupyterlab", extension=True):
        self.files = folder / "files"
        settings, extensions = folder / "config/labconfig", folder / "share/labextensions"
        for made in (self.files, settings, extensions):
            made.mkdir(parents=True)
        (settings / "default_setting_overrides.json").write_text(json.dumps(QUIET))
        if extension:
            shutil.copytree(SOURCE, extensions / "@tre/lab")
        (folder / "config/jupyter_server_config.d").mkdir()
        enabled = {"ServerApp": {"jpserver_extensions": {"tre.desk.lab": extension}}}
        (folder / "config/jupyter_server_config.d/tre.json").write_text(json.dumps(enabled))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TRE_", "JUPYTER"))}
        environment = clean | {
            "HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "run"), "JUPYTER_PATH": str(folder / "share"), "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "TRE_HOME": str(folder / "desk"), "PYTHONPATH": str(SOURCE.parents[3]), "TRE_URL": area.url if area else "", "TRE_TOKEN": area.tokens[person] if area else "",
        }  # fmt: skip
        port = free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "lab.log"
        options = [
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", "--ServerApp.open_browser=False",
            f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.files}", "--ServerApp.allow_root=True",
        ]  # fmt: skip
        if lab == "jupyterlab":
            options += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
            options.append(f"--LabApp.labextensions_path={extensions}")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", lab, *options], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def _answers(self):
        try:
            return self.ask("GET", "/api/status").is_success
        except httpx.HTTPError:
            return False

    def ask(self, method, path, *, headers=None, **more):
        headers = {"authorization": f"token {TOKEN}"} if headers is None else headers
        return httpx.request(method, f"{self.url}{path}", headers=headers, trust_env=False, timeout=30, **more)

    def stop(self):
        """Asked to, so that its kernels end too; then its group, in which nothing should be left."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


class Tab:
    """A page of that server; what it asked the network for, and what it complained of, is written down."""

    def __init__(self, browser, lab, path="/lab"):
        self.requested, self.complaints = [], []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.context.on("request", lambda r: self.requested.append(r.url))
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.goto(f"{lab.url}{path}?token={TOKEN}&reset")
        self.page.wait_for_function("window.jupyterapp")
        self.page.evaluate("window.jupyterapp.restored.then(() => true)")

    def run(self, command, **arguments):
        """A command of JupyterLab's, begun: what it waits for is for the person."""
        self.page.evaluate("([c, a]) => { window.jupyterapp.commands.execute(c, a); }", [command, arguments])

    def elsewhere(self):
        """What was asked of any machine but this one."""
        return [u for u in self.requested if u.startswith("http") and not u.startswith("http://127.0.0.1:")]

    def close(self):
        self.context.close()
