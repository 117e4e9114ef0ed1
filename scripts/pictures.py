#!/usr/bin/env python3
"""Make the pictures of the README: a terminal as SVG, and the top of a verification's report as PNG.

Runs the commands that it shows, on a full-size ir-CSN-152 with seeded weights. Needs the extras
``[torch,onnx,docs]`` and Chromium: ``python scripts/pictures.py``.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent.parent / "docs" / "_static"
SOURCE = "irCSN_152_ft_kinetics_from_ig65m_f126851907.pkl"
COMMANDS = (
    f"convert vmz {SOURCE} out.pth --to mmaction2",
    f"convert verify {SOURCE} out.pth --html proof.html",
)
COLUMNS = 104
REPORT = (1000, 900)
"""Width and height of the report's picture in pixels."""


def write_source(folder: Path) -> None:
    """Write the seeded file of `convert demo` under the name of the released one."""
    subprocess.run(
        [sys.executable, "-m", "converters", "demo", "demo-files", "--quiet"], check=True, cwd=folder
    )
    written = next((folder / "demo-files").glob("*.pkl"))
    written.rename(folder / SOURCE)


def run_all(folder: Path) -> str:
    """The commands, each with what it prints; raises `CalledProcessError` where one fails."""
    shown = []
    for command in COMMANDS:
        arguments = command.split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "converters", *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"},
        )
        shown.append(f"$ {command}\n{done.stdout}")
    return "\n".join(shown).rstrip()


def draw_terminal(text: str) -> None:
    """Write terminal.svg: commands in bold."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in text.splitlines():
        console.print(Text(line, style="bold" if line.startswith("$ ") else ""), soft_wrap=True)
    svg = console.export_svg(title="convert", unique_id="terminal")
    # rich's template fetches its font from a server; a picture fetches nothing.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (PICTURES / "terminal.svg").write_text(svg, encoding="utf-8")


def photograph_report(folder: Path) -> None:
    """Write report.png."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    width, height = REPORT
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={width},{height}",
    ]
    picture = PICTURES / "report.png"
    page = (folder / "proof.html").resolve().as_uri()
    subprocess.run([browser, *flags, f"--screenshot={picture}", page], check=True, capture_output=True)


def main() -> int:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder)
        draw_terminal(run_all(folder))
        photograph_report(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
