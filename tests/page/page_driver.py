"""A browser as tests of the page use it."""

from __future__ import annotations

from typing import Any


class Page:
    """What tests do with a page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str, width: int = 1280, dark: bool = False) -> None:
        """Open an address in a window of this width, with nothing stored and nothing logged."""
        self.look(width, dark)
        self.driver.get("about:blank")
        self.log("performance")
        self.log("browser")
        self.driver.get(address)
        self.driver.execute_script("localStorage.clear()")

    def look(self, width: int, dark: bool) -> None:
        """Set the width of the window and what the system prefers."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script and return its value."""
        return self.driver.execute_script(script, *arguments)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Return what was logged since the last call."""
        return list(self.driver.get_log(kind))

    def one(self, selector: str) -> Any:
        """Return the first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def column(self, name: str) -> list[str]:
        """Return the texts of a column, as a wide window shows them."""
        script = """
            return [...document.querySelectorAll(`#rows [data-column=${arguments[0]}]`)].map((cell) => {
              const copy = cell.cloneNode(true);
              copy.querySelectorAll('.where').forEach((part) => part.remove());
              return copy.textContent;
            })"""
        return list(self.run(script, name))

    def choose(self, name: str, value: str) -> None:
        """Choose from a list, as a hand would."""
        from selenium.webdriver.support.ui import Select

        Select(self.one(f"#{name}")).select_by_value(value)

    def everything(self) -> None:
        """Show all rows."""
        self.one("#reset").click()

    def focused(self) -> str:
        """Return the text of the element that has the focus."""
        return str(self.run("return document.activeElement.textContent"))

    def card_is_open(self) -> bool:
        """Whether a card is open."""
        return bool(self.run("return document.getElementById('card').open"))
