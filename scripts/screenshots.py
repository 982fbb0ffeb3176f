"""Pictures of every page, light and dark, desktop and phone, and of the demo, for the documentation.

    python scripts/screenshots.py [FOLDER [PAGE]]        default: docs/pictures, all of them

Of "demo", `make demo` is told once, and its own words are drawn; some are Chinese (apt install fonts-wqy-microhei).

Uses the tests' small world (seeded mail, no server, no account of yours) and Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import keyring
from keyring.backends import null
from playwright.sync_api import Browser, Page, sync_playwright

from spamd.credentials import KeyringSecrets
from tests.web.world import World

PAGES = {
    "today": "/",
    "review": "/review",
    "learned": "/labels",
    "search": "/search?q=ticket",
    "why": "/why/{why}",
    "similar": "/similar/{why}",
    "trends": "/trends?days=30",
    "model": "/model?a={base}&b=personal-a1b2c3d4e5",
    "accounts": "/accounts",
    "account": "/accounts/home",
    "setup": "/setup",
    "lists": "/lists",
    "try": "/try",
    "settings": "/settings",
    "log": "/log",
    "undo": "/undo?since=2020-01-01T00:00",
}
SIZES = {"": (1200, 800), "phone-": (390, 844)}
PHONE = ("today", "review", "why", "trends", "account")


class Desktop(null.Keyring):
    """An empty keyring, named as most people's is: the pictures are made where there is none."""

    name = "SecretService Keyring"


def chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    return next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )


def take(page: Page, url: str, file: Path, *, whole: bool) -> None:
    page.goto(url)
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    if tempfile.gettempdir() in page.inner_text("body"):
        raise RuntimeError(f"{url} shows a folder of this run, which nobody else has.")
    page.screenshot(path=str(file), full_page=whole)
    make_small(file)


def make_small(file: Path) -> None:
    with contextlib.suppress(ImportError):  # a third of the size, where Pillow is
        from PIL import Image

        # By coverage: by frequency, Pillow's default, the green of a dot is lost, as there is little of it.
        by_coverage = Image.Quantize.MAXCOVERAGE
        Image.open(file).convert("RGB").quantize(192, by_coverage, kmeans=3).save(file, optimize=True)


def demo(browser: Browser, file: Path) -> None:
    """What the demo says on a terminal."""
    if not subprocess.run(["fc-list", ":lang=ja"], capture_output=True, text=True, check=True).stdout:
        raise RuntimeError("The demo has Japanese and Chinese subjects: apt install fonts-wqy-microhei.")
    from rich.console import Console
    from rich.terminal_theme import MONOKAI

    from spamd.demo.story import Story

    console = Console(file=io.StringIO(), record=True, width=104, highlight=False)
    console.print("[green]$[/] [bold]make demo[/]")
    with tempfile.TemporaryDirectory() as home:
        Story(Path(home), console, once=True).tell()
    svg = console.export_svg(title="make demo", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched from elsewhere
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    # rich counts letters, not columns, and so would squeeze Chinese and Japanese into half of their width.
    svg = re.sub(r' textLength="[^"]*"(?=[^>]*>[^<]*[\u3000-\u9fff])', "", svg)
    page = browser.new_context(viewport={"width": 1100, "height": 900}, device_scale_factor=1.5).new_page()
    page.set_content(f'<body style="margin:0; background:white">{svg}</body>')
    page.locator("svg").first.screenshot(path=str(file))
    page.context.close()
    make_small(file)


def main(folder: Path, only: str = "") -> int:
    program = chromium()
    if program is None:
        print("There is no Chromium: apt install chromium.", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        keyring.set_keyring(Desktop())
        world = World(Path(home), hostile=False, secrets=KeyringSecrets())
        world.server.start()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            if only in ("", "demo"):
                demo(browser, folder / "demo.png")
            for scheme in () if only == "demo" else ("light", "dark"):
                for prefix, (width, height) in SIZES.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
                    )
                    page = context.new_page()
                    page.goto(f"{world.server.url}/open?code={world.server.access.new_code()}")
                    page.wait_for_url(f"{world.server.url}/")
                    for name, path in PAGES.items():
                        if (only and name != only) or (prefix and name not in PHONE):
                            continue
                        url = world.server.url + path.format(why=world.why_id, base=world.base)
                        take(page, url, folder / f"{prefix}{name}-{scheme}.png", whole=bool(only))
                    context.close()
        finally:
            browser.close()
            world.close()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/pictures"))
    parser.add_argument("page", nargs="?", default="", choices=["", *PAGES, "demo"])
    asked = parser.parse_args()
    sys.exit(main(asked.folder, asked.page))
