"""A browser for tests: opens pages, waits for what they show, keeps what goes wrong.

A page may be drawn anew at any moment, and then the elements of before are gone. So no
element is ever held here: whatever is looked at, or clicked on, is found and used
within one script.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

LIMIT_S = 60.0

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # the tests may be root's, for whom Chromium has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--force-device-scale-factor=1",
]

T = TypeVar("T")


class Browser:
    """Chromium, moved by its driver."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = Options()
        options.binary_location = chromium
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability(
            "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
        )
        self.driver = webdriver.Chrome(options, Service(driver))
        self.driver.set_script_timeout(LIMIT_S)
        self.driver.set_page_load_timeout(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.driver.quit()

    def open(self, page: str | Path, width: int = 1280, **media: str) -> None:
        """Open a page and wait until it has shown everything.

        Args:
            page: Its address, or the file.
            width: Of the window.
            media: What people want, such as ``prefers_color_scheme="dark"``.
        """
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        self.cdp("Emulation.setEmulatedMedia", features=features)
        self.resize(width)
        self.driver.get(page.as_uri() if isinstance(page, Path) else page)
        self.wait(lambda: self.run("return document.documentElement.dataset.ready"))

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page a window of this size."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def cdp(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, until: Callable[[], T]) -> T:
        """Wait until something is true of the page, and return it."""
        return WebDriverWait(self.driver, LIMIT_S, 0.02).until(lambda _: until())

    def count(self, selector: str) -> int:
        """Return how many such elements there are."""
        script = "return document.querySelectorAll(arguments[0]).length"
        return int(self.run(script, selector))

    def see(self, selector: str) -> None:
        """Wait until there is such an element."""
        self.wait(lambda: self.count(selector))

    def text(self, selector: str = "main") -> str:
        """Return all text of an element, seen or not; "" if there is none yet."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.run(script, selector))

    def click(self, selector: str) -> None:
        """Wait for an element, and click on the first one, wherever it is."""
        script = """
        const found = document.querySelector(arguments[0]);
        found?.click();
        return found !== null;
        """
        self.wait(lambda: self.run(script, selector))

    def focus(self, selector: str) -> None:
        """Wait for an element, and give it the focus."""
        script = """
        document.querySelector(arguments[0])?.focus();
        return document.activeElement.matches(arguments[0]);
        """
        self.wait(lambda: self.run(script, selector))

    def mouse(self, selector: str) -> webdriver.ActionChains:
        """Return what the pointer is to do, from the middle of an element on."""
        script = """
        const found = document.querySelector(arguments[0]);
        found?.scrollIntoView({block: 'center', behavior: 'instant'});
        const at = found?.getBoundingClientRect();
        return at && [at.x + at.width / 2, at.y + at.height / 2];
        """
        x, y = self.wait(lambda: self.run(script, selector))
        chain = webdriver.ActionChains(self.driver)
        pointer = chain.w3c_actions.pointer_action
        pointer.move_to_location(int(x), int(y))  # type: ignore[no-untyped-call]  # selenium's own
        chain.w3c_actions.key_action.pause()
        return chain

    def press(self, *keys: str) -> None:
        """Press keys in what has the focus."""
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def complaints(self) -> list[str]:
        """Return what the console has got since the page was opened."""
        return [str(one["message"]) for one in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium's own

    def requests(self) -> list[str]:
        """Return what has been asked for since the page was opened, as addresses."""
        events = [
            json.loads(one["message"])["message"]
            for one in self.driver.get_log("performance")  # type: ignore[no-untyped-call]  # selenium's own
        ]
        return [
            str(one["params"]["request"]["url"])
            for one in events
            if one["method"] == "Network.requestWillBeSent"
        ]
