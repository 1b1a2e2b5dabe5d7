"""Does everything that the documentation shows work as it stands there?"""

import csv
import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bagscope
import docs_blocks
import toys
from bagscope.settings.jobs import ImagesJob, make_job
from specimens import toy_screen

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = {page: docs_blocks.blocks_of(page) for page in PAGES}
RUNNABLE = [page for page in PAGES if any(block.kind in ("python", "console") for block in BLOCKS[page])]
# Enough to see that training works; what it learns is tested elsewhere.
SMALL = {"training.steps": 4, "training.batch": 4, "training.crop": 95}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make what a reader has: images, a plate map and a screen table."""
    table = toy_screen(tmp_path, px=96)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    wells = {(row["plate"], row["well"]): row["label"] for row in rows}
    lines = ["plate,well,label", *(",".join([*key, label]) for key, label in wells.items())]
    (tmp_path / "map.csv").write_text("\n".join(lines) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(words, page):
    """Run a command; return its exit code and all that it printed."""
    if words[0] == "train":
        words = [*words, *(word for name, value in SMALL.items() for word in ("--set", f"{name}={value}"))]
    if page.name != "README.md":
        code, *texts = toys.command(*words)
        return code, "".join(texts)
    # The main job, each command in a process of its own, as it is typed: nothing is loaded when it begins.
    shell = [sys.executable, "-m", "bagscope", *words]
    done = subprocess.run(shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_what_a_page_shows_works_when_typed(page, folder):
    if any(words[:1] == ["import"] for block in BLOCKS[page] for words in block.commands()):
        (folder / "screen.csv").unlink()
    names = {"__name__": "__main__"}
    for block in BLOCKS[page]:
        if block.kind == "python":
            text = block.text.replace("bs.train(screen, ", f"bs.train(screen, **{SMALL}, out=")
            exec(compile("\n" * (block.line - 1) + text, str(page), "exec"), names)
        elif block.kind == "console":
            for words in block.commands():
                code, text = run_command(words, page)
                assert code == 0, f"bagscope {' '.join(words)}\n{text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_a_page_shows_are_known(page, tmp_path):
    for block in BLOCKS[page]:
        if block.kind == "toml":
            assert tomllib.loads(block.text)
            (tmp_path / "settings.toml").write_text(block.text, "utf-8")
            make_job(ImagesJob, tmp_path / "settings.toml")


def test_pages_have_blocks_and_a_block_that_is_not_run_says_why(tmp_path):
    assert sum(len(blocks) for blocks in BLOCKS.values()) > 10
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- no-run: slow -->\n```console\n$ bagscope demo\n```\ntext\n"
        "```console\n$ make test\n$ bagscope score a \\\n    b\nsays this\n```\n```python\nx = 1\n```\n"
    )
    console, python = docs_blocks.blocks_of(page)
    assert console.commands() == [["score", "a", "b"]]
    assert (python.kind, python.text, python.line) == ("python", "x = 1\n", 13)


def test_the_page_of_settings_is_up_to_date():
    place = ROOT / "docs" / "make_settings.py"
    specification = importlib.util.spec_from_file_location("make_settings", place)
    maker = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(maker)
    made = maker.page()
    assert made == maker.PAGE.read_text("utf-8"), "run `python docs/make_settings.py`"
    for section, field in ImagesJob.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"`{section}.{key}`" in made


def test_links_between_files_lead_somewhere():
    missing = []
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing


def test_the_table_of_who_may_import_whom_is_the_tested_one():
    import house_rules

    documented = {}
    for packages, below in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|$", section("Who may import whom"), re.M):
        for package in re.findall(r"`(\w+)`", packages):
            names = set(re.findall(r"[\w.]+", below.replace("the public names", ""))) - {"nothing"}
            documented[package] = names
    tested = {name: below for name, below in house_rules.MAY_IMPORT.items() if name not in ("poolings", "__main__")}
    assert documented == tested


def section(title):
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def with_examples():
    package = Path(bagscope.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if ">>>" in path.read_text("utf-8"):
            yield ".".join(["bagscope", *path.relative_to(package).with_suffix("").parts])


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")), raise_on_error=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the site needs the extra 'docs'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "mathematics" / "index.html").is_file()
