"""The pages of the API, read from the modules without importing them: signatures, docstrings and comments."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

PACKAGE = "masking_tutorial"

# What a reader looks for, and the modules that have it.
GROUPS = {
    "padding": ("Padding, masks and batches", "padding masks ruler packing plans batching"),
    "layers": ("Layers", "custom_layers manual_masks mask_layers masked_layers masked_windows attention transformer"),
    "training": ("Losses, metrics and training", "losses_and_metrics guard training"),
    "instruments": ("Instruments", "contract influence leaks mend audit lint trace explorer atlas command_line"),
    "data": ("Data and exercises", "datasets exercises"),
    "parts": (
        "The parts of the instruments",
        "batch compare observe reference case clauses scores shards judge blame edits surgery backend reports matrix",
    ),
}

Definition = ast.FunctionDef | ast.ClassDef
CELL = re.compile(r"^# %% \.\./(nbs/\S+\.ipynb) #(\S+)$", re.MULTILINE)


class UnknownModule(Exception):
    """A module that no page has, or a page of a module that is gone."""


def api_pages(
    package: Path,  # the folder of the modules
    heading_above: Callable[[str, str], str],  # from a notebook and the id of a cell to a link to the heading above it
) -> dict[str, str]:  # the Markdown of each page, by its name
    modules = {path.stem: Module(path) for path in sorted(package.glob("[!_]*.py"))}
    grouped = {name for _, listed in GROUPS.values() for name in listed.split()}
    if wrong := sorted({name for name, module in modules.items() if module.members} ^ grouped):
        raise UnknownModule(
            f"{', '.join(wrong)}: name each module that defines something public in GROUPS of {__name__}"
        )
    names = {node.name for module in modules.values() for node in module.members}
    overview = ["# API", f"Every name is imported from the top: `from {PACKAGE} import pad_sequences`."]
    pages = {}
    for page, (title, listed) in GROUPS.items():
        text, rows = [f"# {title}"], ["| name | what it is or does |", "|---|---|"]
        for module in (modules[name] for name in listed.split()):
            text += [f"## {PACKAGE}.{module.name}", _linked(module.doc, names)]
            for node in module.members:
                built = f"[How it is built]({heading_above(*module.cell_of(node))})"
                text.append(_Entry(module, names).of(node, built))
                rows.append(f"| {_reference(node.name)} | {_linked(_first_sentence(node), names)} |")
        pages[page] = "\n\n".join(text) + "\n"
        overview += [f"## {title}", "\n".join(rows)]
    overview.append("```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```")
    return {"index": "\n\n".join(overview) + "\n", **pages}


class Module:
    """What a module defines and exports."""

    def __init__(self, path: Path):
        self.name, self.source = path.stem, path.read_text(encoding="utf-8")
        tree = ast.parse(self.source)
        self.doc = ast.get_docstring(tree) or ""
        self.comments = _comments(self.source)
        exported = next((ast.literal_eval(node.value) for node in tree.body if _is_list_of_exports(node)), [])
        self.members = [node for node in tree.body if isinstance(node, Definition) and node.name in exported]

    def cell_of(self, node: Definition) -> tuple[str, str]:
        """The notebook, and the id of its cell, from which a definition is exported."""
        above = "\n".join(self.source.splitlines()[: node.lineno - 1])
        return CELL.findall(above)[-1]


def _is_list_of_exports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _comments(source: str) -> dict[int, str]:
    """The comment that ends each line, with what goes on in lines of comments below it."""
    comments: dict[int, str] = {}
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, text = token.start[0], token.string.lstrip("#:").strip()
            goes_on = token.line.lstrip().startswith("#") and line == last + 1
            if goes_on and start in comments:
                comments[start] += f" {text}"
            else:
                comments[line], start = text, line
            last = line
    return comments


class _Entry:
    """Writes the definitions of a module as directives of Sphinx."""

    def __init__(self, module: Module, names: set[str]):
        self.comments, self.names = module.comments, names

    def of(self, node: Definition, built: str) -> str:
        if isinstance(node, ast.FunctionDef):
            return _directive("function", node.name + _signature(node), [*self._body(node), built])
        return self._of_class(node, built)

    def _of_class(self, node: ast.ClassDef, built: str) -> str:
        functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        signature, explained = "", []
        if constructor := next((part for part in functions if part.name == "__init__"), None):
            signature, explained = _signature(constructor, bound=True), self._explained(constructor)
        elif fields := [part for part in node.body if isinstance(part, ast.AnnAssign) and _is_record(node)]:
            signature = f"({', '.join(_field(part) for part in fields)})"
            explained = [(ast.unparse(part.target), self.comments.get(part.lineno, "")) for part in fields]
        bases = [f"`{base}`" for base in map(ast.unparse, node.bases) if not base.startswith("_")]
        parts = [self._linked(f"A subclass of {' and '.join(bases)}.")] if bases else []
        parts += [self._linked(ast.get_docstring(node) or ""), self._list(explained)]
        shown = [part for part in functions if not part.name.startswith("_") and ast.get_docstring(part)]
        return _directive("class", node.name + signature, [*parts, *map(self._of_method, shown), built])

    def _of_method(self, node: ast.FunctionDef) -> str:
        decorators = {ast.unparse(part).rpartition(".")[2] for part in node.decorator_list}
        if decorators & {"property", "cached_property"}:
            return _directive("property", node.name, self._body(node), inner=True)
        kind = next((kind for kind in ("staticmethod", "classmethod") if kind in decorators), "method")
        signature = _signature(node, bound=kind != "staticmethod")
        return _directive(kind, node.name + signature, self._body(node), inner=True)

    def _body(self, node: ast.FunctionDef) -> list[str]:
        return [self._linked(ast.get_docstring(node) or ""), self._list(self._explained(node))]

    def _explained(self, node: ast.FunctionDef) -> list[tuple[str, str]]:
        """The parameters that stand on one line, and what the comment behind them says; at last what is returned."""
        lines = defaultdict(list)
        for part in ast.walk(node.args):
            if isinstance(part, ast.arg):
                star = "*" * (part is node.args.vararg) + "**" * (part is node.args.kwarg)
                lines[part.lineno].append(star + part.arg)
        explained = [(", ".join(lines[line]), self.comments[line]) for line in sorted(lines) if line in self.comments]
        # The line that ends the signature.
        end = node.returns.lineno if node.returns else node.body[0].lineno - 1
        if end not in lines and end in self.comments:
            explained.append(("", self.comments[end]))
        return explained

    def _list(self, explained: list[tuple[str, str]]) -> str:
        named = [(f"`{name}`" if name else "*returns*", self._linked(text)) for name, text in explained]
        return "\n".join(f"- {name}: {text}" if text else f"- {name}" for name, text in named)

    def _linked(self, text: str) -> str:
        return _linked(text, self.names)


def _is_record(node: ast.ClassDef) -> bool:
    """Whether its fields are what it is made from."""
    words = [ast.unparse(part) for part in (*node.bases, *node.decorator_list)]
    return any("NamedTuple" in word or "dataclass" in word for word in words)


def _field(node: ast.AnnAssign) -> str:
    return ast.unparse(node.target) + (f"={ast.unparse(node.value)}" if node.value else "")


def _signature(node: ast.FunctionDef, bound: bool = False) -> str:
    """The parameters as the source has them, but for `self`."""
    text = ast.unparse(node.args)
    if bound:
        text = text.partition(", ")[2]
    return f"({text})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _directive(kind: str, signature: str, parts: list[str], inner: bool = False) -> str:
    fence, option = ("````", "") if inner else ("`````", f":module: {PACKAGE}\n")
    body = "\n\n".join(part for part in parts if part)
    return f"{fence}{{py:{kind}}} {signature}\n{option}\n{body}\n{fence}"


def _first_sentence(node: Definition) -> str:
    return re.split(r"(?<=\.)\s", " ".join((ast.get_docstring(node) or "").split()), maxsplit=1)[0]


def _reference(name: str) -> str:
    return f"{{py:obj}}`{name} <{PACKAGE}.{name}>`"


def _linked(text: str, names: set[str]) -> str:
    """Prose with code in backticks, as Markdown: names of the package lead to their entries, all else stays."""
    parts = re.split(r"(`[^`]+`)", text)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = _reference(part[1:-1]) if part[1:-1] in names else part
        else:
            parts[place] = re.sub(r"([*_\[\]<>|#~$\\])", r"\\\1", part)
    return "".join(parts)
