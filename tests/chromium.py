"""A headless Chromium for tests of pages, or why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

AXE = "axe-core@4.14.1"  # checks of accessibility, MPL-2.0; fetched for the tests, never a part of the project


def find() -> tuple[str, str] | None:
    """Return the paths of Chromium and its driver, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = os.environ.get("BENCH_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    driver = os.environ.get("BENCH_CHROMEDRIVER") or shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def start(folder: Path) -> Any:
    """Start a browser whose profile lies in a new folder; None where there is none."""
    found = find()
    if found is None:
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1280,900",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    driver.set_script_timeout(120)
    return driver


def axe_script(folder: Path) -> str | None:
    """Return the source of axe-core: of the file that ``BENCH_AXE`` names, or fetched with npm once; None without."""
    named = os.environ.get("BENCH_AXE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    kept = folder / AXE / "axe.min.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None or os.environ.get("BENCH_OFFLINE"):
            return None
        command = [npm, "pack", AXE, "--fetch-retries=0", "--fetch-timeout=20000", "--pack-destination", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
        shutil.unpack_archive(folder / done.stdout.split()[-1], folder / f"{AXE}.{os.getpid()}", "gztar", filter="data")
        kept.parent.mkdir(exist_ok=True)
        os.replace(folder / f"{AXE}.{os.getpid()}" / "package" / "axe.min.js", kept)
    return kept.read_text(encoding="utf-8")


def cpu_seconds(driver: Any, script: str) -> dict[str, float]:
    """Run a script and return the seconds that the page's thread worked for it: all of it, scripts and layout.

    Processor time, so other programs on the machine matter little. Layout is forced before it ends.
    """
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def now() -> dict[str, float]:
        return {m["name"]: m["value"] for m in driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}

    before = now()
    driver.execute_script(f"{script}; document.body.getBoundingClientRect()")
    after = now()
    return {n: after[n] - before[n] for n in ("TaskDuration", "ScriptDuration", "LayoutDuration")}
