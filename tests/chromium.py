"""A real browser, driven through its pipe: pages from files, and what becomes of them."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
           "--hide-scrollbars", "--no-first-run")  # fmt: skip
PATIENCE = 60  # seconds for an answer, on a busy machine


class Chromium:
    """A browser with one page; what it logs, throws and asks a network for is kept.

    Attributes:
        logged: The messages of its console, errors of scripts and violations of its policy among them.
        asked: The addresses of everything that it has asked for.
    """

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.asked: list[str] = []
        self.count = 0

    def __enter__(self) -> "Chromium":
        self.profile = TemporaryDirectory(ignore_cleanup_errors=True)
        # It reads from 3 and writes to 4: our ends of the two pipes are moved out of the way of these.
        reads, self.into = map(_away, os.pipe())
        listens, writes = map(_away, os.pipe())
        command = [str(PROGRAM), *OPTIONS, f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [*command, "about:blank"],
            preexec_fn=lambda: (os.dup2(reads, 3), os.dup2(writes, 4)),
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        os.set_blocking(listens, False)
        self.outof, self.waiting = os.fdopen(listens, "rb", 0), b""
        self.session: str | None = None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        os.close(self.into)
        self.outof.close()
        self.profile.cleanup()

    def open(self, page: Path, *, width: int = 1400, height: int = 900) -> None:
        """Open a file in a window of this size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.loaded = False
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._until(lambda: self.loaded)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression of JavaScript on the page; its value has to be plain."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Take a picture of the window, or of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(b64decode(shot["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the browser, or of the page as soon as there is one."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        self.answer: dict[str, Any] | None = None
        self._until(lambda: self.answer is not None)
        assert self.answer and "error" not in self.answer, self.answer
        return self.answer["result"]

    def _until(self, done: Any) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < until, "the browser does not answer"
            assert self.process.poll() is None, "the browser has ended"
            self.waiting += self.outof.read(2**20) or b""
            *messages, self.waiting = self.waiting.split(b"\0")
            for message in map(json.loads, messages):
                self._hear(message)
            if not messages:
                time.sleep(0.01)

    def _hear(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        match message.get("method"):
            case None if message["id"] == self.count:
                self.answer = message
            case "Page.loadEventFired":
                self.loaded = True
            case "Runtime.consoleAPICalled":
                self.logged.append(json.dumps(said["args"]))
            case "Runtime.exceptionThrown":
                self.logged.append(json.dumps(said["exceptionDetails"]))
            case "Log.entryAdded":
                self.logged.append(f"{said['entry']['level']}: {said['entry']['text']}")
            case "Network.requestWillBeSent":
                self.asked.append(said["request"]["url"])


def _away(end: int) -> int:
    """Give an end of a pipe a number from 10 on."""
    moved = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return moved
