"""Write the rows of a pytest-benchmark file as a table in Markdown: ``python markdown_table.py FILE.json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = ("what", "size", "seconds", "share of limit", "against", "times faster")


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table; above it the devices, and the versions of Python and the machine's processor."""
    rows = [row for one in document.get("benchmarks", []) for row in one.get("extra_info", {}).get("rows", [])]
    if not rows:
        return "Nothing was timed.\n"
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for row in rows:
        share, ratio = row.get("share_of_limit"), row.get("ratio")
        texts = (
            row["what"],
            row.get("size") or "",
            f"{row['ours_s']:.3g}",
            "" if share is None else f"{100 * share:.0f} % of {row['limit']}",
            "" if ratio is None else f"{row['baseline']}: {row['baseline_s']:.3g}",
            "" if ratio is None else f"{ratio:.3g}",
        )
        lines.append(f"| {' | '.join(text.replace('|', '/') for text in texts)} |")
    devices = ", ".join(sorted({row["device"] for row in rows}))
    machine = document.get("machine_info", {})
    cpu = machine.get("cpu", {}).get("brand_raw", "")
    return (
        f"{devices}; {cpu or 'processor unknown'}, Python {machine.get('python_version', '?')}\n\n"
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    print(markdown(json.loads(content) if content.strip() else {}), end="")
