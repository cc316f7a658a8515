"""A headless Chromium driven through its debugging pipe: opens a page as a screen of a given size would show it.

Only for tests and for looking: nothing that ships needs a browser.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip

_PATIENCE_S = 180


class BrowserError(Exception):
    """A browser that does not start or does not answer."""


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Browser:
    """One browser with one tab. ``requests`` and ``complaints`` are of the page opened last.

    Attributes
    ----------
    requests : list of str
        Addresses the page asked for, itself included, data: left out.
    complaints : list of str
        Console messages, exceptions and what the browser logged (broken rules of the content's policy).
    """

    def __init__(self, executable: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The browser reads its descriptor 3 and writes its descriptor 4.
        command = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "browser", executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest, self._session = 0, b"", ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(timeout=60)

    def open(self, page: Path | str, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Show a file or an address in a window of that size, loaded entirely."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.requests.clear()
        self.complaints.clear()
        self._loaded = False
        # Else another place in the same page, which is all that an address behind "#" is, would load nothing.
        self.call("Page.navigate", url="about:blank")
        while not self._loaded:
            self._receive()
        self._loaded = False
        self.call("Page.navigate", url=page.resolve().as_uri() if isinstance(page, Path) else page)
        deadline = time.monotonic() + _PATIENCE_S
        while not self._loaded:
            assert time.monotonic() < deadline, f"{page} does not load"
            self._receive()
        # Once more round the browser: what loading has logged arrives before the answer.
        self.evaluate("document.readyState")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page, whatever the page's own rules on scripts are."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, *texts: str) -> str:
        """The page's text, once it shows all of these: what a page fetches comes after it has loaded."""
        return self._until(lambda: self._with(texts), f"{texts} do not come to be shown")

    def click(self, text: str, until: str = "", gone: str = "") -> None:
        """Click on what shows exactly this text, once it is there: the innermost such element, as a mouse would.

        Parameters
        ----------
        until, gone : str
            What the page shows then, or does not show any more. As people do, clicks again where it does not: a list
            that is still closing, or a page that is still being drawn, takes a click and does nothing.
        """

        def is_done() -> bool:
            shown = self._shown()
            return until in shown and not (gone and gone in shown)

        for _ in range(6):
            self._click(text)
            try:
                return self._until(is_done, "", 6.0)
            except AssertionError:
                continue
        raise AssertionError(f"a click on {text!r} does nothing; the page says: {self._shown()}")

    def _click(self, text: str) -> None:
        find = self._find("body *", text)
        self.evaluate(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        place = self.evaluate(
            f"(one => [one.x + one.width / 2, one.y + one.height / 2])({find}.getBoundingClientRect())"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def link(self, text: str) -> str:
        """Where the link goes that shows exactly this text, once it is there."""
        return str(self.evaluate(f"{self._find('a', text)}.href"))

    def _find(self, selector: str, text: str) -> str:
        """The last element, in JavaScript, that shows exactly this text, once there is one."""
        find = f"""[...document.querySelectorAll("{selector}")].filter(
            one => one.innerText?.trim() === {json.dumps(text)} && one.getClientRects().length).at(-1)"""
        self._until(lambda: self.evaluate(f"Boolean({find})"), f"nothing shows {text!r}")
        return find

    def _shown(self) -> str:
        return str(self.evaluate("document.body.innerText"))

    def _with(self, texts: Sequence[str]) -> str:
        shown = self._shown()
        return shown if all(text in shown for text in texts) else ""

    def _until(self, look: Callable[[], Any], otherwise: str, within_s: float = _PATIENCE_S / 2) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := look()):
            assert time.monotonic() < deadline, f"{otherwise}; the page says: {self._shown()}"
            time.sleep(0.1)
        return found

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        options: dict[str, Any] = {"format": "png"}
        if full:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options |= {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it would be printed."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._write, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise BrowserError("the browser has ended") from error
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], _PATIENCE_S)
            more = os.read(self._read, 1 << 20) if ready else b""
            if not more:
                self._process.kill()
                raise BrowserError("the browser has ended" if ready else f"no word of the browser in {_PATIENCE_S} s")
            self._rest += more
        first, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent" and not about["request"]["url"].startswith("data:"):
            self.requests.append(about["request"]["url"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(about))
