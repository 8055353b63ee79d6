"""Debian's Chromium, headless, spoken to over a pipe (the DevTools protocol): no port, no driver, no library.

Works as root and as an ordinary user: Chromium's own sandbox is off, as it cannot be had in every container. What is opened in
it here are our own pages and attacks on a server of the test.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
from collections import deque

SECONDS = 120
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--password-store=basic", "--remote-debugging-pipe", "--window-size=1200,4000",
)  # fmt: skip


def unavailable():
    """Why there is no browser here, or None."""
    if shutil.which("chromium") is None:
        return "Chromium is not installed (Debian: the package chromium)"
    return None


class Browser:
    """One process and one page at a time. Messages are read by a thread; whoever waits, waits for them."""

    def __init__(self, folder):
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4.
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = [
            "bash",
            "-c",
            shell,
            "bash",
            "chromium",
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            "about:blank",
        ]
        environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        with (folder / "chromium.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment, start_new_session=True,
            )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._news = threading.Condition()
        self._answers, self._number, self._ended = {}, 0, False
        self.events = deque()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with os.fdopen(self._from, "rb") as pipe:
            rest = b""
            while part := pipe.read1(1 << 20):
                *messages, rest = (rest + part).split(b"\0")
                with self._news:
                    for message in map(json.loads, messages):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self.events.append(message)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def call(self, method, session=None, **parameters):
        """A command's answer. Raises AssertionError where the browser refuses it."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        with self._news:
            assert self._news.wait_for(lambda: message["id"] in self._answers or self._ended, SECONDS), method
            answer = self._answers.pop(message["id"], None)
        assert answer is not None, f"the browser ended at {method}"
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait(self, session, method):
        """Until an event of a page has come."""
        with self._news:
            assert self._news.wait_for(
                lambda: self._ended or any(self._is(e, session, method) for e in self.events), SECONDS
            ), method

    @staticmethod
    def _is(event, session, method):
        return event.get("sessionId") == session and event["method"] == method

    def open(self, url):
        return Page(self, url)

    def close(self):
        try:
            if not self._ended:
                self.call("Browser.close")
                self.process.wait(SECONDS)
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)  # its own group, of which nothing should be left
            except ProcessLookupError:
                pass
            self.process.wait()
            os.close(self._to)
            self._reader.join(SECONDS)


class Page:
    """A page of its own, loaded; what it asked the network for is written down from its first byte."""

    def __init__(self, browser, url):
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        browser.wait(self.session, "Page.loadEventFired")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def _events(self, method):
        return [e["params"] for e in list(self.browser.events) if self.browser._is(e, self.session, method)]

    def requested(self):
        """All addresses that it has wanted to fetch, also where the browser then forbade it."""
        return [e["request"]["url"] for e in self._events("Network.requestWillBeSent")]

    def dialogs(self):
        return self._events("Page.javascriptDialogOpening")

    def find(self, selector):
        root = self.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        return self.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]

    def title(self):
        return self.browser.call("Target.getTargetInfo", targetId=self.target)["targetInfo"]["title"]

    def click(self, node):
        """With the mouse, in its middle; what takes no place on the page cannot be clicked."""
        try:
            self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
            box = self.call("DOM.getContentQuads", nodeId=node)["quads"]
        except AssertionError:
            return
        if box:
            x, y = (box[0][0] + box[0][4]) / 2, (box[0][1] + box[0][5]) / 2
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)

    # As a person at a keyboard

    def turn(self, act):
        """`act`, and wait until another document has been loaded by it."""
        browser, before = self.browser, len(self._events("Page.loadEventFired"))
        act()
        with browser._news:
            assert browser._news.wait_for(
                lambda: browser._ended or len(self._events("Page.loadEventFired")) > before, SECONDS
            ), "nothing was loaded"

    def press(self, key):
        """Tab, Enter, Space or ArrowDown."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " "), "ArrowDown": (40, "")}[key]
        name = " " if key == "Space" else key
        more = {"text": text, "unmodifiedText": text} if text else {}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=name, code=key,
            windowsVirtualKeyCode=code, **more,
        )  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def tab_to(self, selector, most=200):
        """Press Tab until what has the focus fits the selector."""
        for _ in range(most):
            self.press("Tab")
            if self.ask(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"no way to {selector} by keyboard")

    def ask(self, expression):
        """A value of the page, by the debugger: its own scripts may be off."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, height):
        """A PNG of its upper part."""
        clip = {"x": 0, "y": 0, "width": 1200, "height": height, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", clip=clip)["data"])
