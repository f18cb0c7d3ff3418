"""A headless Chromium, controlled over its debugging pipe: how a page looks, what it loads, which errors it logs."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-default-apps --disable-extensions --hide-scrollbars --remote-debugging-pipe"
)
SECONDS = 60


def find():
    """Return the path of a Chromium, or ``None``."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One tab. A context manager, which deletes the profile of the browser at its end."""

    def __init__(self, path):
        self._profile = tempfile.mkdtemp(prefix="minigrad-browser-")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []

        def as_3_and_4():
            # First move both out of the way, in case one of them is 3 or 4 already.
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [path, *FLAGS.split(), *sandbox, f"--user-data-dir={self._profile}", "about:blank"],
            preexec_fn=as_3_and_4,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._session = b"", 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that it has started
        self._process.wait()
        for end in (self._in, self._out):
            os.close(end)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, **parameters):
        """Send a command of the DevTools protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda m: m.get("id") == self._number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _wait(self, wanted):
        end = time.monotonic() + SECONDS
        while True:
            message, separator, rest = self._buffer.partition(b"\0")
            if separator:
                self._buffer = rest
                read = json.loads(message)
                if "method" in read:
                    self.events.append(read)
                if wanted(read):
                    return read
                continue
            ready, _, _ = select.select([self._in], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data

    def open(self, path, width, height=844, scheme="light", media=""):
        """Show a file; the events of loading it are in ``events``."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        loaded = [m for m in self.events if m["method"] == "Page.loadEventFired"]
        if not loaded:
            self._wait(lambda m: m.get("method") == "Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self):
        """Return what was logged: errors, refused loads, messages on the console."""
        named = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.loadingFailed")
        return [event["params"] for event in self.events if event["method"] in named]

    def requests(self):
        """Return the requested addresses, except data within the page."""
        asked = (e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent")
        return [url for url in asked if not url.startswith("data:")]
