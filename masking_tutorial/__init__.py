"""Padding and masking in Keras: every public name of the package, from one place.

`from masking_tutorial import pad_sequences, check_padding` works for each name of each module. The module of a name is
loaded when the name is first used, so padding needs NumPy alone."""

__version__ = "0.1.0"

import functools as _functools
import importlib as _importlib
import sys as _sys
import types as _types


@_functools.cache
def _module_of():
    "The module of each public name. The modules are read and not imported: each begins with the list of its names."
    import ast, re
    from importlib.resources import files

    exported = re.compile(r"^__all__ = (\[.*?\])", re.MULTILINE | re.DOTALL)
    modules = {}
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py") and not file.name.startswith("_"):
            names = exported.search(file.read_text(encoding="utf-8"))
            for name in ast.literal_eval(names[1]) if names else ():
                # where two modules offer a name, it is the same object
                modules.setdefault(name, file.name.removesuffix(".py"))
    return modules


def __getattr__(name):
    if name == "__all__":
        return sorted(_module_of())
    if name.startswith("_") or name not in _module_of():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_module_of()[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_module_of()})


class _Face(_types.ModuleType):
    "A package in which a function goes before a module of the same name: `audit` is what the module `audit` exports."
    def __setattr__(self, name, value):
        # importing a module makes it an attribute of its package
        if not (isinstance(value, _types.ModuleType) and name in _module_of()):
            super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Face
