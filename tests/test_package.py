"""The distribution that a clean clone builds, in an environment that holds only what it asks for."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def run(*command, cwd):
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def git_files() -> list[str]:
    # Whoever owns the checkout: in a container it is often somebody else.
    listed = run("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).exists())


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone would hold if the work in this checkout were committed."""
    clone = tmp_path_factory.mktemp("clone")
    for name in git_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    return clone


@pytest.fixture(scope="module")
def distributions(clone):
    """A source distribution, and the wheel built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", cwd=clone)
    (sdist,) = (clone / "dist").glob("*.tar.gz")
    (wheel,) = (clone / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def bare_python(distributions, tmp_path_factory):
    """Python in an environment with the wheel and what it requires, and nothing else.

    The requirements are linked from this environment, so that no network is needed.
    """
    environment = tmp_path_factory.mktemp("bare")
    venv.create(environment, with_pip=False, symlinks=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    (metadata,) = site_packages.glob("*.dist-info")
    for required in requirements_of(PathDistribution(metadata)):
        for name in {Path(file).parts[0] for file in required.files} - {"..", "__pycache__"}:
            # Namespace packages belong to several distributions.
            if not (site_packages / name).exists():
                (site_packages / name).symlink_to(required.locate_file(name))
    return environment / "bin" / "python"


def requirements_of(package: Distribution) -> list[Distribution]:
    """What is installed here because the package asks for it, directly or not, without its extras."""
    installed: dict[str, Distribution] = {}
    pending = [package]
    while pending:
        for requirement in map(Requirement, pending.pop().requires or []):
            if requirement.name in installed or requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            installed[requirement.name] = distribution(requirement.name)
            pending.append(installed[requirement.name])
    return list(installed.values())


def test_source_distribution_holds_every_file(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(git_files()) - held == set()


def test_wheel_holds_the_package_and_nothing_else(distributions):
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in git_files() if name.startswith("masking_tutorial/")}


USE = """
from pathlib import Path
import masking_tutorial
from masking_tutorial.datasets import load_snippets, load_vowels
from masking_tutorial.custom_layers import TemporalSplit

print(Path(masking_tutorial.__file__).parents[1])
print(len(load_snippets().texts), len(load_vowels("train").sequences), TemporalSplit.__name__)
"""


def test_package_works_with_its_requirements_alone(bare_python, tmp_path):
    place, loaded = run(bare_python, "-I", "-c", USE, cwd=tmp_path).splitlines()
    assert Path(place).parents[2] == bare_python.parents[1]
    assert loaded == "19503 270 TemporalSplit"


@pytest.mark.parametrize("module", ["matplotlib", "IPython", "nbdev", "fastcore", "pytest"])
def test_bare_environment_holds_no_development_tool(bare_python, tmp_path, module):
    result = subprocess.run([bare_python, "-I", "-c", f"import {module}"], cwd=tmp_path, capture_output=True, text=True)
    assert f"No module named '{module}'" in result.stderr
