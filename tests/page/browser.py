"""A real headless Chromium, driven over the DevTools protocol: what the page's tests see of the page.

`Chromium` is the process, `Tab` one page of it in a profile of its own. A tab keeps everything that the page asked the
network for and everything that went wrong in it, so that a test can tell at its end.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.helpers import wait_for

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ANSWER_SECONDS = 20.0
KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
    "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-gpu",
    # /dev/shm is small in a container.
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--password-store=basic",
    "--hide-scrollbars",
)


def chromium_path() -> str | None:
    """The browser of this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """The browser's process, with a profile under `home`."""

    def __init__(self, path: str, home: Path) -> None:
        # As root, which a container's user often is, there is no sandbox to be had.
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
        self._port_file = home / "DevToolsActivePort"
        self._log = (home / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [path, *FLAGS, *sandbox, f"--user-data-dir={home}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        port, endpoint = wait_for(self._address, 40, "the browser's start")
        self._base = f"ws://127.0.0.1:{port}"
        self._main = Connection(self._base + endpoint)

    def _address(self) -> list[str] | None:
        assert self._process.poll() is None, f"the browser has ended, see {self._log.name}"
        if not self._port_file.exists():
            return None
        lines = self._port_file.read_text().splitlines()
        return lines if len(lines) == 2 else None

    @contextmanager
    def tab(self) -> Iterator["Tab"]:
        """An empty page with storage of its own."""
        context = self._main.send("Target.createBrowserContext")["browserContextId"]
        target = self._main.send("Target.createTarget", url="about:blank", browserContextId=context)
        connection = Connection(f"{self._base}/devtools/page/{target['targetId']}")
        try:
            yield Tab(connection)
        finally:
            connection.close()
            self._main.send("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        self._main.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._log.close()


class Connection:
    """Commands and their answers over one socket; events are kept in the order of their arrival."""

    def __init__(self, url: str) -> None:
        self._opened = contextlib.ExitStack()
        self._socket = self._opened.enter_context(connect(url, proxy=None, compression=None, max_size=None))
        self._ids = itertools.count(1)
        self._answers: dict[int, SimpleQueue] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                else:
                    self.events.append((message["method"], message["params"]))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._ids)
        answer = self._answers[number] = SimpleQueue()
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        try:
            found = answer.get(timeout=ANSWER_SECONDS)
        except Empty:
            raise AssertionError(f"the browser does not answer {method}") from None
        assert "error" not in found, f"{method}: {found['error']}"
        return found["result"]

    def close(self) -> None:
        self._opened.close()
        self._reader.join(5)


class Tab:
    """One page."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Whether a test makes requests fail; the browser says so on the console.
        self.outage = False
        self.send = connection.send
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    # --- what it is told

    def before(self, script: str) -> None:
        """Run a script in every document, ahead of the page's own."""
        self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def resize(self, width: int, height: int = 900, scale: float = 1) -> None:
        mobile = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=mobile,
        )  # fmt: skip

    def prefer(self, **features: str) -> None:
        """Media features by name, with underscores: `prefers_color_scheme="dark"`."""
        found = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=found)

    def press(self, key: str, shift: bool = False) -> None:
        """One key, as a keyboard sends it."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        about["modifiers"] = 8 if shift else 0
        kind = "keyDown" if text else "rawKeyDown"
        self.send("Input.dispatchKeyEvent", type=kind, text=text, **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    # --- what it shows

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, timeout: float = 15.0) -> Any:
        """Until an expression is true."""
        return wait_for(lambda: self.js(condition), timeout, condition)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def value(self, name: str) -> str:
        """A figure by its name."""
        return self.text(f'[data-value="{name}"]')

    def rows(self, selector: str) -> list[list[str]]:
        """The texts of a table's cells, also of what is scrolled out of sight."""
        script = (
            "[...document.querySelectorAll(%s)].map((row) => [...row.children].map((cell) =>"
            " (cell.querySelector('.label') ?? cell).textContent))"
        )
        return self.js(script % json.dumps(f"{selector} tr"))

    def screenshot(self, path: Path, whole: bool = True) -> None:
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    # --- what has happened in it

    def requests(self) -> list[dict[str, Any]]:
        """Everything that the page asked the network for."""
        return [
            e["request"] for name, e in list(self._connection.events) if name == "Network.requestWillBeSent"
        ]

    def sent_headers(self, path: str) -> list[dict[str, str]]:
        """The headers of the requests for a path, as they went out, with names in lower case."""
        urls = {
            e["requestId"]: e["request"]["url"]
            for name, e in list(self._connection.events)
            if name == "Network.requestWillBeSent"
        }
        return [
            {key.lower(): value for key, value in e["headers"].items()}
            for name, e in list(self._connection.events)
            if name == "Network.requestWillBeSentExtraInfo" and urls.get(e["requestId"], "").endswith(path)
        ]

    def errors(self) -> list[str]:
        """What the console shows as an error or a warning."""
        found = []
        for name, event in list(self._connection.events):
            if name == "Runtime.exceptionThrown":
                found.append(json.dumps(event["exceptionDetails"]))
            elif name == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(event["args"]))
            elif name == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
                entry = event["entry"]
                if entry["source"] != "network" or not self.outage:
                    found.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        return found
