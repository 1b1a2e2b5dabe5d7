"""Rules for single modules of the source code, each a function from a module's text to the faults in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bagscope.files import run_names

# Which package may import which; docs/architecture.md says why. A package may always import itself.
_BELOW_FEED = {"errors", "atomic", "registry", "tables", "files", "ops"}
_BELOW_ENGINE = _BELOW_FEED | {"settings", "nets", "feed", "exports.geojson"}
_BELOW_TASKS = _BELOW_ENGINE | {"engine", "classical"}
TASKS = {"images", "blocks", "volumes"}
MAY_IMPORT = {
    "errors": set(),
    "atomic": {"errors"},
    "registry": {"errors"},
    "settings": {"errors"},
    "tables": {"errors", "atomic"},
    "ops": {"errors"},
    "files": {"errors", "atomic", "registry"},
    "nets": {"errors", "registry", "ops"},
    "classical": {"errors", "ops"},
    "importers": {"errors", "registry", "tables", "files"},
    "synth": {"errors", "tables", "files"},
    "feed": {"errors", "tables", "files", "ops"},
    "engine": _BELOW_ENGINE,
    "images": _BELOW_TASKS,
    "blocks": _BELOW_TASKS,
    "volumes": _BELOW_TASKS,
    "report": {"errors", "tables", "files", "ops"},
    "exports": {"errors", "tables", "files", "ops"},
    "api": {"errors", "settings", "tables", "engine"} | TASKS,
    "reproduce": _BELOW_TASKS | TASKS | {"api", "synth", "importers", "report.figures", "report.page"},
    "cli": {"errors", "settings", "files.run_names", "api", "engine", "report", "exports", "importers", "synth"}
    | {"reproduce"}
    | TASKS,
    "poolings": {"ops"},
    "__main__": {"cli"},
}
# These files name packages above them as texts: the tables of tasks, resolved on first use.
NAME_TASKS = {"bagscope.engine.tasks"}
# Only these packages or files import these libraries.
OWNERS = {
    "lightning": {"engine.loop"},
    "tifffile": {"files", "exports"},
    "google_crc32c": {"files"},
    "imagecodecs": {"files"},
    "PIL": {"files"},
    "zarr": {"files", "exports"},
    "matplotlib": {"report"},
    "plotly": {"report"},
    "torch": {"ops", "nets", "feed", "engine", "reproduce"} | TASKS,
    "pydantic": {"settings", "engine"} | TASKS,
    "typer": {"cli"},
}
# These packages and files do without libraries that are slow to load, or that their users need not have.
DO_WITHOUT = {
    "settings": {"torch", "pandas", "numpy"},
    "ops.metrics": {"torch", "pandas", "skimage"},
    "ops.intervals": {"torch", "pandas", "skimage"},
    "ops.doseresponse": {"torch", "pandas", "skimage"},
}
IMPORT_NOTHING = {"bagscope.ops"}
SAME_AS = {"torchmetrics": "torch", "pytorch_lightning": "lightning", "ome_zarr": "zarr"}
KNOW_TASKS = {"settings", "cli"}
# Packages that write or read the files of a run, and the names of these files.
NAME_RUN_FILES = {"engine", "report", "cli", *TASKS}
_VALUES = [value for name, value in vars(run_names).items() if name.isupper()]
RUN_FILES = {name for value in _VALUES for name in ([value] if isinstance(value, str) else value) if "." in name}
RUN_FILES -= {run_names.SHEET}  # a template of the report has this name too
BANNED_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "core"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "read_pickle", "to_pickle", "system", "popen"}
# These decode pixels, for the decoding process to call; experiments read files that they made or know.
DECODERS = {"open_image", "read_array", "read_field", "read_labels"}
DECODE_HERE = {"files", "reproduce"}
LARGEST_FILE = 400
LARGEST_BODY = 70
LONG_BODY = 40

_PLACE = re.compile(r"bagscope(\.\w+)+(:\w+)?")


def package_of(module: str) -> str:
    """Return the first part of a module's name below bagscope: bagscope.engine.loop -> engine."""
    return module.split(".")[1] if "." in module else "bagscope"


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that is imported, however deeply nested.

    A text such as "bagscope.nets.kraus:KrausNet" counts, because a registry imports what it names; so does the
    constant start of an f-string such as f"bagscope.nets.{name}".
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from bagscope import files` names a package, or a public name of bagscope.
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # parts of f-strings too
            name = node.value.replace(":", ".").rstrip(".")
            if _PLACE.fullmatch(name) and package_of(name) in MAY_IMPORT:
                yield node.lineno, name


def is_imported(source: str, name: str) -> bool:
    """Whether an import statement, and not only a text, names this."""
    return any(
        (isinstance(node, ast.ImportFrom) and name.startswith(f"{node.module}."))
        or (isinstance(node, ast.Import) and name in {alias.name for alias in node.names})
        for node in ast.walk(ast.parse(source))
    )


def wrong_way(source: str, module: str) -> list[str]:
    """Faults: a package imports one beside or above it, or is in no table."""
    package = package_of(module)
    if package == "bagscope":
        return []  # the package's own list of public names points everywhere, on first use
    if package not in MAY_IMPORT:
        return [f"{module}: package '{package}' has no line in the table of who may import whom"]
    public = package in ("reproduce", "cli")  # these use the package as its readers do
    faults = []
    for line, name in imports(source):
        other = package_of(name)
        if name.split(".")[0] != "bagscope" or other == package or name.startswith("bagscope.__"):
            continue
        if public and other not in MAY_IMPORT:
            continue
        if module in NAME_TASKS and other in TASKS and not is_imported(source, name):
            continue
        if not any(f"{name}.".startswith(f"bagscope.{below}.") for below in MAY_IMPORT[package]):
            faults.append(f"{module}:{line} imports {name}: {package} may not import {other}")
    return faults


def foreign_library(source: str, module: str) -> list[str]:
    """Faults: a library that belongs to another package, or that this file does without."""
    path = module.removeprefix("bagscope.")
    places = {path, path.split(".")[0]}
    without = set().union(*(DO_WITHOUT.get(place, set()) for place in places))
    faults = []
    for line, name in imports(source):
        library = name.split(".")[0]
        library = SAME_AS.get(library, library)
        if library in OWNERS and not OWNERS[library] & places:
            faults.append(f"{module}:{line} imports {name}: only {', '.join(sorted(OWNERS[library]))} may")
        if library in without or module in IMPORT_NOTHING:
            faults.append(f"{module}:{line} imports {name}: {path} does without it")
    return faults


def knows_another_task(source: str, module: str) -> list[str]:
    """Faults: one task's package imports another's."""
    others = TASKS - {package_of(module)}
    if package_of(module) not in TASKS:
        return []
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(source)
        if name.startswith("bagscope.") and package_of(name) in others
    ]


def task_name_compared(source: str, module: str) -> list[str]:
    """Faults: a comparison with a task's name where the task object should decide."""
    if package_of(module) in KNOW_TASKS:
        return []
    compared: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                compared += side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
        elif isinstance(node, ast.MatchValue):
            compared.append(node.value)
    return [
        f"{module}:{value.lineno} compares with the task name '{value.value}'"
        for value in compared
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value in TASKS
    ]


def unsafe(source: str, module: str) -> list[str]:
    """Faults: anything by which a file or a text that comes from outside could run as code."""
    faults = [
        f"{module}:{line} imports {name}" for line, name in imports(source) if name.split(".")[0] in UNSAFE_MODULES
    ]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        bare = node.func.id if isinstance(node.func, ast.Name) else ""
        called = node.func.attr if isinstance(node.func, ast.Attribute) else bare
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        bad = []
        # re.compile and network.eval() are others' methods; the built-ins are meant.
        if called in UNSAFE_CALLS and (bare or called not in ("compile", "eval", "exec")):
            bad.append(f"calls {called}")
        if given.get("allow_pickle", "False") != "False":
            bad.append("allows pickles")
        if given.get("shell", "False") != "False":
            bad.append("starts a shell")
        if given.get("weights_only", "True") != "True" or (
            (owner, called) == ("torch", "load") and "weights_only" not in given
        ):
            bad.append("loads more than weights")
        if owner == "yaml" and called in ("load", "unsafe_load", "full_load"):
            bad.append("lets YAML make objects")
        faults += [f"{module}:{node.lineno} {what}" for what in bad]
    return faults


def decodes_here(source: str, module: str) -> list[str]:
    """Faults: pixels are decoded in this process, where a file that crashes or hangs the decoder ends the run."""
    if package_of(module) in DECODE_HERE:
        return []
    called = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [(node.lineno, ast.unparse(node.func).split(".")[-1]) for node in called]
    return [f"{module}:{line} calls {name}: DecodingWorker.run does" for line, name in names if name in DECODERS]


def relative_import(source: str, module: str) -> list[str]:
    """Faults: an import with a dot in front."""
    return [f"{module}:{line} imports {name}" for line, name in imports(source) if name.startswith(".")]


def hidden_import(source: str, module: str) -> list[str]:
    """Faults: an import by a name that is composed at run time, which these rules cannot see."""
    if module in ("bagscope", "bagscope.registry"):
        return []
    return [
        f"{module}:{node.lineno} imports by a name that is not written out"
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Call) and _hides_a_name(node))
        or (isinstance(node, ast.Constant | ast.JoinedStr) and _is_piece_of_a_name(node))
    ]


def _hides_a_name(call: ast.Call) -> bool:
    """Whether a name is composed in a call that imports by name."""
    called = ast.unparse(call.func).split(".")[-1]
    if called == "import_module":
        return not (call.args and isinstance(call.args[0], ast.Constant))
    if called == "Registry":
        inside = [node for argument in call.args for node in ast.walk(argument)]
        return any(isinstance(node, ast.JoinedStr | ast.BinOp) for node in inside)
    return False


def _is_piece_of_a_name(node: ast.Constant | ast.JoinedStr) -> bool:
    """Whether a text is a template or the first part of a module's name: "bagscope.nets.", f"bagscope.{package}"."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    else:
        text = str(node.value)
    template = text.endswith(".") or "{" in text or "%" in text
    return template and re.fullmatch(r"bagscope\.[\w.:{}%()]*", text) is not None


def talks(source: str, module: str) -> list[str]:
    """Faults: print, or an assert, which vanishes under `python -O`.

    `assert self.x is not None` is allowed: it informs the type checker about an object's state, never about input.
    """
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and not re.fullmatch(r"self\.[\w.]+ is not None", ast.unparse(node.test)):
            faults.append(f"{module}:{node.lineno} asserts: raise an error with a cause and a fix")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            faults.append(f"{module}:{node.lineno} prints: report it as an event")
    return faults


def file_name_twice(source: str, module: str) -> list[str]:
    """Faults: the name of a file of a model or score folder, which `files/run_names` states once."""
    if package_of(module) not in NAME_RUN_FILES:
        return []
    return [
        f"{module}:{node.lineno} names '{node.value}': import it from bagscope.files.run_names"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in RUN_FILES
    ]


def too_long(source: str, module: str) -> list[str]:
    """Faults: a file above 400 lines, a function body above 70."""
    lines = source.count("\n")
    faults = [f"{module}: {lines} lines"] if lines > LARGEST_FILE else []
    bodies = [f"{module}:{at} {name}: {length} lines" for at, name, length in bodies_above(source, LARGEST_BODY)]
    return faults + bodies


def bodies_above(source: str, limit: int) -> list[tuple[int, str, int]]:
    """Line, name and length of functions whose body, without its docstring, has more than `limit` lines."""
    long_bodies = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1:2] if ast.get_docstring(node) is not None else node.body[:1]
            length = (node.end_lineno or 0) - first[0].lineno + 1 if first else 0
            long_bodies += [(node.lineno, node.name, length)] if length > limit else []
    return sorted(long_bodies)


def vague_name(source: str, module: str) -> list[str]:
    """Faults: a file or folder whose name does not describe its content."""
    words = {word for part in module.split(".") for word in part.split("_")}
    return [f"{module}: '{word}' is vague" for word in sorted(words & BANNED_NAMES)]


def no_question(source: str, module: str) -> list[str]:
    """Faults: a file without a first line that describes its content."""
    text = ast.get_docstring(ast.parse(source))
    return [] if text and source.startswith('"""') else [f"{module}: no docstring in the first line"]


RULES = (
    wrong_way,
    foreign_library,
    knows_another_task,
    task_name_compared,
    unsafe,
    decodes_here,
    relative_import,
    hidden_import,
    talks,
    file_name_twice,
    too_long,
    vague_name,
    no_question,
)
