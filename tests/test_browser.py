"""What is installed before the site is tested, and what is said where it cannot be. No browser is needed here."""

import os

import pytest

from tools import browser
from tools.browser import Missing, check_fonts, find_browser, install

FONTS = "/fonts/NotoSansCJK.ttc: Noto Sans CJK SC"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with the programs that are put on it, and no other."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)

    def put(**programs):
        for name, script in programs.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return tmp_path

    return put


def as_user(monkeypatch, number):
    monkeypatch.setattr(os, "geteuid", lambda: number)


def apt_get(folder, what=f"printf '#!/bin/sh\\necho {FONTS}\\n' > $d/fc-list; : > $d/chromium; /bin/chmod +x $d/*"):
    return f'd={folder}; echo "$@" >> $d/asked\n[ "$2" = update ] || {{ {what}; }}'


def test_what_is_there_is_not_installed(machine, monkeypatch):
    as_user(monkeypatch, 0)
    folder = machine(chromium="", fc_list=f"echo {FONTS}")
    machine(apt_get=apt_get(folder))
    install()
    assert not (folder / "asked").exists() and find_browser() == str(folder / "chromium")


def test_root_installs_what_is_missing_and_says_so(machine, monkeypatch, capfd):
    as_user(monkeypatch, 0)
    folder = machine()
    machine(apt_get=apt_get(folder))
    install()
    assert (folder / "asked").read_text().splitlines() == [
        "-qq update",
        "-qq install --yes --no-install-recommends chromium fontconfig fonts-noto-cjk",
    ]
    assert capfd.readouterr().out == (
        "Installing chromium, fontconfig, fonts-noto-cjk with apt-get. This takes a minute.\n"
    )


def test_only_what_is_missing_is_installed(machine, monkeypatch):
    as_user(monkeypatch, 0)
    folder = machine(google_chrome="", fc_list="")
    machine(apt_get=apt_get(folder))
    install()
    assert (folder / "asked").read_text().endswith("--no-install-recommends fonts-noto-cjk\n")


@pytest.mark.parametrize("user, there", [(1000, True), (0, False)])
def test_what_cannot_be_installed_is_said_in_one_go(machine, monkeypatch, capsys, user, there):
    as_user(monkeypatch, user)
    folder = machine(fc_list="")
    if there:
        machine(apt_get=apt_get(folder))
    assert browser.main() == 1
    said = capsys.readouterr().err
    assert "apt-get install chromium" in said and "apt-get install fonts-noto-cjk" in said
    assert not (folder / "asked").exists()


def test_what_apt_get_says_is_shown_when_it_fails(machine, monkeypatch, capsys):
    as_user(monkeypatch, 0)
    folder = machine(chromium="", fc_list="")
    machine(apt_get=apt_get(folder, "echo no room left; exit 100"))
    with pytest.raises(Missing, match="No font has Chinese characters"):
        install()
    assert "no room left" in capsys.readouterr().err


def test_a_browser_that_is_named_and_not_there(machine, monkeypatch):
    as_user(monkeypatch, 0)
    folder = machine(chromium="", fc_list=f"echo {FONTS}")
    machine(apt_get=apt_get(folder))
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(Missing, match="CHROMIUM names /nowhere/chromium, and there is no such program"):
        install()
    assert not (folder / "asked").exists()


def test_a_browser_of_another_name(machine, monkeypatch):
    folder = machine(my_chromium="")
    monkeypatch.setenv("CHROMIUM", "my-chromium")
    assert find_browser() == str(folder / "my-chromium")


def test_no_list_of_fonts(machine):
    machine()
    with pytest.raises(Missing, match="apt-get install fontconfig fonts-noto-cjk"):
        check_fonts()
