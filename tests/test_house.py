"""Does every file of the package keep the rules of the house, and does every rule see its fault?"""

from pathlib import Path

import pytest

import bagscope
import house_rules as rules

PACKAGE = Path(bagscope.__file__).parent


def module_name(path):
    parts = ["bagscope", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule):
    assert len(SOURCES) > 50
    faults = [fault for module, source in SOURCES.items() for fault in rule(source, module)]
    assert not faults, "\n".join(faults)


def test_the_table_knows_every_room_and_has_no_circle():
    there = {rules.room(module) for module in SOURCES} - {"bagscope"}
    assert there <= set(rules.MAY_IMPORT)
    left = dict(rules.MAY_IMPORT)
    while left:
        lowest = [room for room, below in left.items() if not {name.split(".")[0] for name in below} & set(left)]
        assert lowest, f"these import one another in a circle: {sorted(left)}"
        for room in lowest:
            del left[room]


# What each rule must see: (rule, module it stands in, source with the fault).
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
    (
        rules.wrong_way,
        "bagscope.feed.cache",
        "from importlib import import_module\nimport_module('bagscope.images.train')",
    ),
    (rules.wrong_way, "bagscope.feed.cache", "from bagscope.engine.loop import fit"),
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
    (rules.talks, "bagscope.images.train", "def f():\n    print('x')"),
    (rules.talks, "bagscope.images.train", "def f(x):\n    assert x > 0"),
    (rules.talks, "bagscope.images.train", "def f(x):\n    assert x is not None"),
    (rules.too_long, "bagscope.images.train", "x = 1\n" * 401),
    (rules.too_long, "bagscope.images.train", "class A:\n    def f(self):\n" + "        x = 1\n" * 71),
    (rules.vague_name, "bagscope.engine.utils", ""),
    (rules.vague_name, "bagscope.common.table", ""),
    (rules.vague_name, "bagscope.engine.array_helpers", ""),
    (rules.no_question, "bagscope.images.train", "import math"),
]
# What looks like a fault and is none.
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
    (rules.talks, "bagscope.cli.console", "bar.console.print('x')"),
    (rules.talks, "bagscope.files.rasters", "def f(self):\n    assert self._image is not None"),
    (rules.too_long, "bagscope.images.train", "def f():\n    '''" + "law\n" * 90 + "'''\n" + "    x = 1\n" * 70),
    (rules.vague_name, "bagscope.images.score", ""),
    (rules.no_question, "bagscope.images.train", '"""Does it learn?"""\n'),
]


@pytest.mark.parametrize(("rule", "module", "source"), PLANTED)
def test_a_planted_fault_is_seen(rule, module, source):
    assert rule(source, module)


@pytest.mark.parametrize(("rule", "module", "source"), ALLOWED)
def test_what_is_no_fault_is_let_pass(rule, module, source):
    assert rule(source, module) == []


def test_every_rule_is_shown_a_fault():
    assert {rule for rule, _, _ in PLANTED} == set(rules.RULES)
