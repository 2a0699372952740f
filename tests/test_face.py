"""The face of the package: every public name can be imported from the top, and is loaded when it is first used."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import masking_tutorial

PACKAGE = Path(masking_tutorial.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))


def printed(code, cwd=None):
    ran = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize("module", MODULES)
def test_public_names_can_be_had_from_the_top(module):
    imported = importlib.import_module(f"masking_tutorial.{module}")
    for name in imported.__all__:
        # two modules that offer a name must offer the same object
        assert getattr(masking_tutorial, name) is getattr(imported, name), name
    assert set(imported.__all__) <= set(masking_tutorial.__all__) & set(dir(masking_tutorial))


def test_nothing_else_is_public():
    names = [name for module in MODULES for name in importlib.import_module(f"masking_tutorial.{module}").__all__]
    assert masking_tutorial.__all__ == sorted(set(names))
    with pytest.raises(AttributeError, match="module 'masking_tutorial' has no attribute 'pad_sequence'"):
        masking_tutorial.pad_sequence


@pytest.mark.parametrize("name", ["pad_sequences", "unpad", "padding_waste", "load_vowels", "text_table"])
def test_names_without_layers_load_no_tensorflow(name):
    code = (f"import sys\nfrom masking_tutorial import {name}\nimport masking_tutorial\ndir(masking_tutorial)\n"
            "print({'tensorflow', 'keras', 'matplotlib'} & sys.modules.keys())")
    assert printed(code) == "set()"


def test_a_name_with_layers_is_loaded_when_it_is_used():
    code = ("import sys, masking_tutorial\nprint('keras' in sys.modules)\nmasking_tutorial.mask_from_lengths\n"
            "print('keras' in sys.modules, 'mask_from_lengths' in vars(masking_tutorial))")
    assert printed(code).split() == ["False", "True", "True"]


def test_a_star_import_gives_every_name():
    code = "from masking_tutorial import *\nimport masking_tutorial\nprint(set(masking_tutorial.__all__) - set(globals()))"
    assert printed(code) == "set()"


@pytest.fixture
def small_package(tmp_path):
    """The face of the package over two small modules, one of which is named like a function in it."""
    package = tmp_path / "small"
    package.mkdir()
    shutil.copy(PACKAGE / "__init__.py", package)
    (package / "audit.py").write_text("__all__ = ['audit',\n           'TOLERANCE']\nTOLERANCE = 1\n\ndef audit():\n    return 'the function'\n")
    (package / "shell.py").write_text("from .audit import audit\n\n__all__ = ['main']\n\ndef main():\n    return audit()\n")
    (package / "_index.py").write_text("__all__ = ['private']\n")
    return tmp_path


@pytest.mark.parametrize("first", [
    "from small import audit",
    "import small.audit\naudit = small.audit",
    "import small.shell\naudit = small.audit",
    "import importlib, small\nimportlib.import_module('small.audit')\naudit = small.audit",
    "from small.audit import audit",
])
def test_a_function_goes_before_its_module(small_package, first):
    code = f"{first}\nprint(audit())\nfrom small.audit import TOLERANCE\nprint(TOLERANCE)\nimport small\nprint(small.audit())"
    assert printed(code, small_package).splitlines() == ["the function", "1", "the function"]


def test_modules_without_public_names_and_private_ones_are_left_out(small_package):
    (small_package / "small" / "empty.py").write_text("VALUE = 2\n")
    assert printed("import small\nprint(small.__all__)\nimport small.empty\nprint(small.empty.VALUE)", small_package) == (
        "['TOLERANCE', 'audit', 'main']\n2")
