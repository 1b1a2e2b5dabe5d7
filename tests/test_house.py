"""Every file of the package keeps the house rules, and every rule reports its planted fault."""

from pathlib import Path

import pytest

import bagscope
import house_graph as graph
import house_rules as rules

PACKAGE = Path(bagscope.__file__).parent
TESTS = Path(__file__).parent


def module_name(path):
    parts = ["bagscope", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule):
    assert len(SOURCES) > 50
    faults = [fault for module, source in SOURCES.items() for fault in rule(source, module)]
    assert not faults, "\n".join(faults)


def test_the_table_lists_every_package_and_has_no_circle():
    packages = {rules.package_of(module) for module in SOURCES} - {"bagscope"}
    assert packages <= set(rules.MAY_IMPORT)
    below = {package: {name.split(".")[0] for name in names} for package, names in rules.MAY_IMPORT.items()}
    assert not graph.circles(below)


def test_no_files_import_one_another_in_a_circle():
    assert not list(graph.circles(graph.import_graph(SOURCES)).values())


def test_no_function_of_engine_and_tasks_has_more_than_six_parameters():
    assert not graph.long_parameter_lists(SOURCES)


def test_the_median_file_is_short():
    assert not graph.long_median(SOURCES)


def test_folders_of_tests_are_those_of_the_packages():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {path.parent.name for path in TESTS.glob("*/*.py")}
    assert not graph.unmirrored(packages, folders)


@pytest.mark.parametrize(
    "imported",
    [
        "from bagscope.nets.b import f",
        "from bagscope.nets import b",
        "import bagscope.nets.b as other",
        "def f():\n    from bagscope.nets.b import f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bagscope.nets.b import F",
        "R = Registry('net', {'b': 'bagscope.nets.b:F'})",
        "from importlib import import_module\nimport_module('bagscope.nets.b')",
    ],
)
def test_a_planted_circle_is_named(imported):
    sources = {
        "bagscope.nets": "",
        "bagscope.nets.a": imported,
        "bagscope.nets.b": "from bagscope.nets.c import g",
        "bagscope.nets.c": "from bagscope.nets.a import h",
        "bagscope.nets.d": "from bagscope.nets.a import h",
    }
    circles = graph.circles(graph.import_graph(sources))
    assert list(circles) == [frozenset({"bagscope.nets.a", "bagscope.nets.b", "bagscope.nets.c"})]
    assert list(circles.values()) == ["bagscope.nets.a -> bagscope.nets.b -> bagscope.nets.c -> bagscope.nets.a"]


def test_the_table_of_tasks_closes_no_circle_but_an_import_in_its_file_does():
    task = "from bagscope.engine.tasks import TASKS"
    table = "TASKS = Registry('task', {'images': 'bagscope.images.setup'})\n"
    sources = {"bagscope.engine.tasks": table, "bagscope.images.setup": task}
    assert not graph.circles(graph.import_graph(sources))
    sources["bagscope.engine.tasks"] = table + "def f():\n    from bagscope.images.setup import g"
    assert graph.circles(graph.import_graph(sources))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b, c, d, e, f, g): ...",
        "def f(a, /, b, c, *, d, e, f, **rest): ...\ndef g(a, b, c, d, e, *, f, g): ...",
        "async def f(a, b, c, d, e, f, g): ...",
        "class A:\n    def f(self, a, b, c, d, e, f, g): ...",
        "def outer():\n    def f(a, b, c, d, e, f, g): ...",
    ],
)
def test_a_planted_long_parameter_list_is_reported(source):
    assert len(graph.long_parameter_lists({"bagscope.engine.loop": source})) == 1
    assert not graph.long_parameter_lists({"bagscope.ops.bags": source})


def test_self_is_no_parameter():
    assert not graph.long_parameter_lists({"bagscope.engine.loop": "def f(self, a, b, c, d, e, f): ..."})


def test_a_long_median_is_reported():
    assert graph.long_median({"a": "\n" * 131, "b": "\n" * 400, "c": ""})
    assert not graph.long_median({"a": "\n" * 130, "b": "\n" * 400, "c": ""})


def test_folders_of_tests_that_mirror_no_package_are_reported():
    assert graph.unmirrored({"ops", "nets"}, {"ops", "real", "cases"}) == [
        "tests/cases belongs to no package",
        "package nets has no folder tests/nets",
    ]


# Faults that a rule must report: (rule, module, source with the fault).
PLANTED = [
    (rules.wrong_way, "bagscope.ops.bags", "from bagscope.files.reader import open_image"),
    (rules.wrong_way, "bagscope.ops.bags", "import bagscope.settings.jobs"),
    (rules.wrong_way, "bagscope.ops.bags", "from bagscope import files"),
    (rules.wrong_way, "bagscope.ops.bags", "from bagscope import read_screen"),
    (rules.wrong_way, "bagscope.files.tiff", "def f():\n    def g():\n        from bagscope.tables import table"),
    (
        rules.wrong_way,
        "bagscope.feed.cache",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bagscope.engine.events import Events",
    ),
    (rules.wrong_way, "bagscope.nets", "R = Registry('net', {'x': 'bagscope.engine.loop:fit'})"),
    (rules.wrong_way, "bagscope.nets", "R = Registry('net', {n: f'bagscope.engine.{n}:fit' for n in 'ab'})"),
    (rules.wrong_way, "bagscope.nets", "place = f'bagscope.engine.{n}'"),
    (
        rules.wrong_way,
        "bagscope.feed.cache",
        "from importlib import import_module\nimport_module('bagscope.images.train')",
    ),
    (rules.wrong_way, "bagscope.feed.cache", "from bagscope.engine.loop import fit"),
    (rules.wrong_way, "bagscope.engine.loop", "from bagscope.images.task import ImagesTask"),
    (rules.wrong_way, "bagscope.images.train", "from bagscope.cli.console import Console"),
    (rules.wrong_way, "bagscope.newroom.thing", "x = 1"),
    (rules.wrong_way, "bagscope.reproduce.digits", "from bagscope.report.gallery import make_gallery"),
    (rules.wrong_way, "bagscope.images.train", "import bagscope"),
    (rules.foreign_library, "bagscope.images.train", "import lightning"),
    (rules.foreign_library, "bagscope.feed.cache", "def f():\n    from tifffile import imread"),
    (rules.foreign_library, "bagscope.tables.table", "import torch.nn.functional as F"),
    (rules.foreign_library, "bagscope.cli.app", "def f():\n    import torch"),
    (rules.foreign_library, "bagscope.images.train", "from matplotlib import pyplot"),
    (rules.foreign_library, "bagscope.images.train", "import plotly.graph_objects"),
    (rules.foreign_library, "bagscope.importers.omezarr", "import zarr"),
    (rules.foreign_library, "bagscope.settings.jobs", "import pandas"),
    (rules.foreign_library, "bagscope.ops.metrics", "import torch"),
    (rules.foreign_library, "bagscope.ops", "import numpy"),
    (rules.foreign_library, "bagscope.images.train", "import pytorch_lightning"),
    (rules.knows_another_task, "bagscope.blocks.task", "from bagscope.images.samples import Crops"),
    (rules.task_name_compared, "bagscope.images.train", "if job.task == 'images': pass"),
    (rules.task_name_compared, "bagscope.images.train", "if job.task in ('blocks', 'x'): pass"),
    (rules.task_name_compared, "bagscope.images.score", "match task:\n    case 'volumes': pass"),
    (rules.unsafe, "bagscope.engine.states", "import pickle"),
    (rules.unsafe, "bagscope.engine.states", "def f():\n    from joblib import load"),
    (rules.unsafe, "bagscope.engine.states", "eval('1')"),
    (rules.unsafe, "bagscope.engine.states", "exec('x = 1')"),
    (rules.unsafe, "bagscope.engine.states", "import marshal"),
    (rules.unsafe, "bagscope.engine.states", "np.load(p, allow_pickle=True)"),
    (rules.unsafe, "bagscope.engine.states", "torch.load(p, weights_only=False)"),
    (rules.unsafe, "bagscope.engine.states", "torch.load(p)"),
    (rules.unsafe, "bagscope.engine.states", "subprocess.run('ls', shell=True)"),
    (rules.unsafe, "bagscope.engine.states", "os.system('ls')"),
    (rules.unsafe, "bagscope.engine.states", "yaml.load(text)"),
    (rules.unsafe, "bagscope.engine.states", "pd.read_pickle(p)"),
    (rules.decodes_here, "bagscope.images.cell_stage", "labels = read_labels(path)"),
    (rules.decodes_here, "bagscope.report.maps", "from bagscope.files import field\nfield.read_field(f)"),
    (rules.decodes_here, "bagscope.volumes.rows", "f(lambda: open_image(path)[0])"),
    (rules.relative_import, "bagscope.images.train", "from .engine import fit"),
    (rules.relative_import, "bagscope.images.train", "from . import engine"),
    (rules.hidden_import, "bagscope.images.train", "import_module('bagscope.' + name)"),
    (rules.hidden_import, "bagscope.images.train", "importlib.import_module(name)"),
    (rules.hidden_import, "bagscope.nets", "R = Registry('net', {n: f'bagscope.engine.{n}:fit' for n in 'ab'})"),
    (rules.hidden_import, "bagscope.nets", "R = Registry('net', {n: f'{package}.{n}:fit' for n in 'ab'})"),
    (rules.hidden_import, "bagscope.nets", "R = Registry('net', {'x': package + '.loop:fit'})"),
    (rules.hidden_import, "bagscope.nets", "place = f'bagscope.{package}.loop:fit'"),
    (rules.hidden_import, "bagscope.nets", "place = f'bagscope.nets.k{n}'"),
    (rules.hidden_import, "bagscope.nets", "place = 'bagscope.' + package"),
    (rules.hidden_import, "bagscope.nets", "place = 'bagscope.%s' % package"),
    (rules.hidden_import, "bagscope.nets", "place = 'bagscope.{}:fit'.format(package)"),
    (rules.talks, "bagscope.images.train", "def f():\n    print('x')"),
    (rules.talks, "bagscope.images.train", "def f(x):\n    assert x > 0"),
    (rules.talks, "bagscope.images.train", "def f(x):\n    assert x is not None"),
    (rules.file_name_twice, "bagscope.report.findings", "path = folder / 'run.json'"),
    (rules.file_name_twice, "bagscope.images.fit", "WEIGHTS = 'model.safetensors'"),
    (rules.too_long, "bagscope.images.train", "x = 1\n" * 401),
    (rules.too_long, "bagscope.images.train", "class A:\n    def f(self):\n" + "        x = 1\n" * 71),
    (rules.vague_name, "bagscope.engine.utils", ""),
    (rules.vague_name, "bagscope.common.table", ""),
    (rules.vague_name, "bagscope.engine.array_helpers", ""),
    (rules.no_question, "bagscope.images.train", "import math"),
]
# Sources that resemble a fault and must pass.
ALLOWED = [
    (
        rules.wrong_way,
        "bagscope.images.train",
        "from bagscope import __version__\nfrom bagscope.engine.tasks import TASKS",
    ),
    (rules.wrong_way, "bagscope.reproduce.bbbc013", "import bagscope\nfrom bagscope import train"),
    (rules.wrong_way, "bagscope.reproduce.digits", "from bagscope.report.figures import curve"),
    (rules.wrong_way, "bagscope.ops.bags", "text = 'bagscope.md'.upper()\nimport numpy"),
    (rules.foreign_library, "bagscope.engine.loop", "import lightning"),
    (rules.foreign_library, "bagscope.files.tiff", "import tifffile"),
    (rules.foreign_library, "bagscope.ops.bags", "import torch"),
    (rules.knows_another_task, "bagscope.images.task", "from bagscope.images.samples import Crops"),
    (rules.task_name_compared, "bagscope.settings.jobs", "if task == 'images': pass"),
    (rules.task_name_compared, "bagscope.images.train", "if column == 'image': pass"),
    (rules.unsafe, "bagscope.engine.states", "re.compile('x')\nnetwork.eval()\nnp.load(p, allow_pickle=False)"),
    (rules.unsafe, "bagscope.engine.states", "torch.load(p, weights_only=True)"),
    (rules.decodes_here, "bagscope.images.cell_stage", "labels = worker.run(read_labels, path)"),
    (rules.decodes_here, "bagscope.files.field", "pixels = open_image(path)"),
    (rules.hidden_import, "bagscope.registry", "import_module(module)"),
    (rules.hidden_import, "bagscope.nets", "R = Registry('net', {'x': 'bagscope.nets.x:X'})"),
    (rules.hidden_import, "bagscope.nets", "R = Registry('net', {n: place.module for n, place in PLACES.items()})"),
    (rules.hidden_import, "bagscope.report.why", "text = f'bagscope {version}', f'see bagscope.{word}', f'{a}:{b}'"),
    (rules.talks, "bagscope.cli.console", "bar.console.print('x')"),
    (rules.talks, "bagscope.files.rasters", "def f(self):\n    assert self._image is not None"),
    (rules.file_name_twice, "bagscope.files.run_names", "RUN = 'run.json'"),
    (rules.file_name_twice, "bagscope.report.findings", "text = f'see {folder}/run.json'"),
    (rules.too_long, "bagscope.images.train", "def f():\n    '''" + "law\n" * 90 + "'''\n" + "    x = 1\n" * 70),
    (rules.vague_name, "bagscope.images.score", ""),
    (rules.no_question, "bagscope.images.train", '"""Does it learn?"""\n'),
]


@pytest.mark.parametrize(("rule", "module", "source"), PLANTED)
def test_a_planted_fault_is_reported(rule, module, source):
    assert rule(source, module)


@pytest.mark.parametrize(("rule", "module", "source"), ALLOWED)
def test_a_valid_source_passes(rule, module, source):
    assert rule(source, module) == []


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, _, _ in PLANTED} == set(rules.RULES)
