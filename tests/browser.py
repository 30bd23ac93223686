"""A real browser without a window, spoken to over its DevTools socket: Chromium with SwiftShader.

Tests that ask for it skip where no Chromium is installed.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run", "--remote-debugging-port=0",
    "--hide-scrollbars", "--force-device-scale-factor=1", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 120  # seconds after which a page that never gets there fails


class Page:
    """A tab: scripts in, values out; `requests` are the addresses that it asked for."""

    def __init__(self, socket) -> None:
        self.socket, self.count, self.requests, self.errors = socket, 0, [], []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE))
            self._note(message)
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]

    def _note(self, message: dict) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))

    def open(self, address: str, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.call("Page.navigate", url=address)
        self.until(f"location.href === {address!r} && document.readyState === 'complete'")

    def run(self, script: str):
        """The value of an expression, once its promise, if any, is kept."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script: str):
        """Ask again and again until the expression holds; its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never: {script}; errors: {self.errors}")

    def pixels(self, canvas: str) -> np.ndarray:
        """(H, W, 3) of a canvas that still holds what was drawn."""
        url = self.run(f"document.querySelector({canvas!r}).toDataURL('image/png')")
        return decoded(url.split(",")[1])

    def screenshot(self) -> np.ndarray:
        """(H, W, 3) of the window."""
        return decoded(self.call("Page.captureScreenshot", format="png")["data"])


def decoded(text: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def browser_program() -> str:
    """The path of a Chromium; the test skips where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


@contextmanager
def tab(folder: Path) -> Iterator[Page]:
    """A fresh browser with one empty tab, whose profile lies in `folder`."""
    connect = pytest.importorskip("websockets.sync.client").connect
    port_file = folder / "DevToolsActivePort"
    program = subprocess.Popen(
        [browser_program(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + PATIENCE
        while not (port_file.is_file() and len(port_file.read_text().split()) == 2):
            assert program.poll() is None, "the browser ended"
            assert time.monotonic() < end, "the browser never came up"
            time.sleep(0.05)
        port, path = port_file.read_text().split()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as root:
            root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            while (answer := json.loads(root.recv(timeout=PATIENCE))).get("id") != 1:
                pass
        (target,) = [t for t in answer["result"]["targetInfos"] if t["type"] == "page"][:1]
        address = f"ws://127.0.0.1:{port}/devtools/page/{target['targetId']}"
        with connect(address, max_size=None) as socket:
            yield Page(socket)
    finally:
        program.terminate()
        program.wait()
