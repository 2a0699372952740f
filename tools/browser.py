"""Sees to it that there is a browser, and a font with Chinese characters, before the site is tested.

    python3 -m tools.browser

As root on Debian or Ubuntu it installs what is missing; elsewhere it says what to install. It needs Python alone.
"""

import os
import shutil
import subprocess
import sys

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"


class Missing(Exception):
    """What is not installed, and the packages of Debian that have it."""

    def __init__(self, what: str, *packages: str):
        super().__init__(f"{what}\nOn Debian or Ubuntu: apt-get install {' '.join(packages)}" if packages else what)
        self.packages = packages


def find_browser() -> str:
    """The path of Chromium, or of the browser that the variable CHROMIUM names. Raises Missing."""
    if named := os.environ.get("CHROMIUM"):
        if not (path := shutil.which(named)):
            raise Missing(f"CHROMIUM names {named}, and there is no such program.")
        return path
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise Missing(
        "Chromium is not installed. Where it has another name, say which: make test-site CHROMIUM=/path/to/chromium",
        "chromium",
    )


def check_fonts() -> None:
    """Raises Missing where no font has Chinese characters."""
    if not shutil.which("fc-list"):
        raise Missing("There is no fc-list, which tells the fonts.", "fontconfig", "fonts-noto-cjk")
    if not subprocess.run(["fc-list", ":lang=zh"], capture_output=True).stdout.strip():
        raise Missing("No font has Chinese characters: the Chinese pages would show boxes.", "fonts-noto-cjk")


def all_missing() -> list[Missing]:
    errors = []
    for check in (find_browser, check_fonts):
        try:
            check()
        except Missing as missing:
            errors.append(missing)
    return errors


def install() -> None:
    """Installs what is missing, where apt-get can. Raises Missing where something still is."""
    packages = [package for missing in all_missing() for package in missing.packages]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {', '.join(packages)} with apt-get. This takes a minute.", flush=True)
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)
    if left := all_missing():
        raise Missing("\n".join(map(str, left)))


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(f"apt-get {' '.join(arguments)} failed:\n{done.stdout}", file=sys.stderr)


def main() -> int:
    try:
        install()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
