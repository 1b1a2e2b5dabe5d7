"""Rules for all modules together: import circles, long parameter lists, lengths of files, folders of tests."""

from __future__ import annotations

import ast
import statistics
from graphlib import CycleError, TopologicalSorter

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from house_rules import NAME_TASKS, TASKS, imports, is_imported, package_of

FEW_PARAMETERS = {"engine", *TASKS}
MOST_PARAMETERS = 6
MEDIAN_LENGTH = 130
# Folders of tests that belong to no single package.
OTHER_TESTS = {"real", "planted"}


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return which modules each module imports, at any depth, under TYPE_CHECKING and by a name in a text too.

    Left out are the texts by which the tables of tasks name the packages above them. A package's `__init__` is
    imported by those who name it, not by those who import a module in it.
    """
    return {module: _imported(module, source, set(sources)) for module, source in sources.items()}


def _imported(module: str, source: str, modules: set[str]) -> set[str]:
    targets = set()
    for _, name in imports(source):
        if name.startswith("bagscope.__"):
            continue  # the version
        if module in NAME_TASKS and package_of(name) in TASKS and not is_imported(source, name):
            continue
        while name and name not in modules:
            name = name.rpartition(".")[0]
        targets |= {name} - {"", module}
    return targets


def circles(graph: dict[str, set[str]]) -> dict[frozenset[str], str]:
    """Return the largest groups of modules that import one another, each with a circle in it: "a -> b -> a"."""
    modules = sorted(graph)
    arrows = np.array([[target in graph[module] for target in modules] for module in modules])
    _, group_of = connected_components(csr_array(arrows), directed=True, connection="strong")
    groups: dict[int, set[str]] = {}
    for module, group in zip(modules, group_of.tolist(), strict=True):
        groups.setdefault(group, set()).add(module)
    return {
        frozenset(group): _path({module: graph[module] & group for module in group})
        for group in groups.values()
        if len(group) > 1
    }


def _path(circle: dict[str, set[str]]) -> str:
    try:
        TopologicalSorter(circle).prepare()
    except CycleError as error:
        path = error.args[1][:0:-1]  # from the importing module to the imported one; the first stands at both ends
        start = path.index(min(path))
        return " -> ".join([*path[start:], *path[:start], path[start]])
    message = "no circle"
    raise ValueError(message)


def long_parameter_lists(sources: dict[str, str]) -> dict[str, int]:
    """Return the functions with too many parameters, self and cls not counted, as "module:Class.function"."""
    found = {}
    for module, source in sources.items():
        if package_of(module) in FEW_PARAMETERS:
            for name, node in _functions(ast.parse(source)):
                count = _parameters(node.args)
                if count > MOST_PARAMETERS:
                    found[f"{module}:{name}"] = count
    return found


def _functions(node: ast.AST, path: str = "") -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    functions = []
    for child in ast.iter_child_nodes(node):
        name = path
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{path}.{child.name}".lstrip(".")
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((name, child))
        functions += _functions(child, name)
    return functions


def _parameters(arguments: ast.arguments) -> int:
    # `**choices` are settings by name, a list that is checked on its own.
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def long_median(sources: dict[str, str]) -> list[str]:
    """Faults: the median file has more than 130 lines."""
    median = statistics.median(source.count("\n") for source in sources.values())
    return [f"the median file has {median:g} lines, more than {MEDIAN_LENGTH}"] if median > MEDIAN_LENGTH else []


def unmirrored(packages: set[str], test_folders: set[str]) -> list[str]:
    """Faults: a folder of tests that is no package's, or a package without a folder of tests."""
    return [
        *(f"tests/{folder} belongs to no package" for folder in sorted(test_folders - packages - OTHER_TESTS)),
        *(f"package {package} has no folder tests/{package}" for package in sorted(packages - test_folders)),
    ]
