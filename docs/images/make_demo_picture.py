"""Makes demo.svg, the README's picture of the terminal, from a run of the real demo.

    .venv/bin/python docs/images/make_demo_picture.py [SECONDS]

By then one workflow broke, mended and is broken again, which makes the better picture.
"""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from meshmetrics.devstack.demo import main as demo
from meshmetrics.devstack.demo.screen import screen
from meshmetrics.devstack.demo.view import View

WIDTH, HEIGHT = 100, 34
SECONDS = 225.0


class Camera:
    """A display that keeps what was shown last."""

    interval = 0.25
    keys = False

    def __init__(self) -> None:
        self.view: View | None = None

    def step(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def show(self, view: View) -> None:
        if not view.note:
            self.view = view

    def close(self) -> None:
        pass


def picture(view: View) -> str:
    """The view as an SVG that refers to nothing outside itself."""
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO())
    console.print(screen(replace(view, keys=True), WIDTH, HEIGHT))
    svg = console.export_svg(title="make demo", unique_id="demo")
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)  # fonts of a CDN
    svg = svg.replace("Fira Code, monospace", "ui-monospace, 'DejaVu Sans Mono', Menlo, monospace")
    svg = "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())
    outside = set(re.findall(r"https?://[^\"'\s)<]+", svg)) - {"http://www.w3.org/2000/svg"}
    shown = {view.places.realtime, view.places.daemon, f"{view.places.daemon}/readyz"}
    if outside - shown:
        raise RuntimeError(f"the picture refers to {outside - shown}")
    return svg + "\n"


def main() -> int:
    camera = Camera()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    status = demo.main(demo.Options(seconds=seconds), camera)
    if status == 0 and camera.view is not None:
        Path(__file__).with_name("demo.svg").write_text(picture(camera.view))
    return status


if __name__ == "__main__":
    sys.exit(main())
