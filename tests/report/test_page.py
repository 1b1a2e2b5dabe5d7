"""Is the page whole, offline, true to the tables, and deaf to whatever stands in them?"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import bagscope as bs
import toys
from bagscope.errors import ModelError
from bagscope.files.writer import write_ome_tiff
from bagscope.nets.kraus import KrausNet
from bagscope.report.architecture import architecture_chart, map_sizes
from bagscope.report.gallery import BUDGET_LARGE, BUDGET_SMALL, edge_for, odd_fields
from bagscope.report.page import ExtraTable
from dangerous import LIMIT_S, let_names_be_dangerous

EVIL = '<img src=x onerror="window.EVIL=1">'
WORSE = '"></script><script>window.EVIL=1</script>'


class Parsed(HTMLParser):
    """Tags with their attributes, and all text that is shown."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.scripts, self._in = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, text):
        (self.scripts if self._in in ("script", "style") else self.texts).append(text)


@pytest.fixture(scope="module")
def model(trained):
    return bs.load(trained, device="cpu")


@pytest.fixture(scope="module")
def scored(model, toy, tmp_path_factory):
    """Scores of the toy screen with cells, masks and treatments, one file cut short."""
    folder = tmp_path_factory.mktemp("screen")
    shutil.copytree(toy.parent, folder / "toy")
    table = folder / "toy" / "screen.csv"
    first = folder / "toy" / toys.table_of(table)[0]["image"]
    first.write_bytes(first.read_bytes()[:500])

    def change(rows):
        return [row | {"treatment": "drug", "concentration": at, "unit": "uM", "label": row["label"] if at % 2 else ""}
                for at, row in enumerate(rows)]  # fmt: skip

    toys.rewrite(table, change)
    return model.score(table, folder / "scores", cells="own", masks=True, threads=1)


@pytest.fixture(scope="module")
def page(scored, tmp_path_factory):
    return bs.report(scored, tmp_path_factory.mktemp("page") / "report.html")


def data_of(page):
    text = page.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_images_and_masks_that_end_the_process_that_decodes_them_are_left_out_and_named(
    model, toy, tmp_path, monkeypatch
):
    shutil.copytree(toy.parent, tmp_path / "toy")
    table = tmp_path / "toy" / "screen.csv"

    def change(rows):
        for row, name in zip(rows, ("crash", "hang"), strict=False):
            (table.parent / row["image"]).rename(table.parent / f"{name}.ome.tif")
            row["image"] = f"{name}.ome.tif"
        rows[2]["site"] = "crash"  # in the name of its mask
        return rows

    toys.rewrite(table, change)
    choices = {"cells": "own", "masks": True, "threads": 1, "compute.io_timeout": LIMIT_S}
    scores = model.score(table, tmp_path / "scores", **choices)
    let_names_be_dangerous(monkeypatch)
    page = bs.report(scores, tmp_path / "report.html", model=model)
    pictures = data_of(page)["pictures"]
    assert [name for name in pictures if name[0] == "f"] == [f"f{row}" for row in range(4, 10)]
    assert "o4" not in pictures
    assert "o5" in pictures
    text = page.read_text("utf-8")
    assert "Pictures of 3 files are missing" in text
    assert f"hang.ome.tif: reading it took longer than {LIMIT_S} s" in text
    assert text.count("killed the decoding process") == 2


def test_reliability_rests_on_cross_fitted_wells_where_there_are_any(scored, trained, tmp_path):
    wells = scored.wells
    many = wells.iloc[np.arange(24) % len(wells)].assign(split="test", label="bright", call="bright", confidence=0.9)
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    (model / "cross_fitted").mkdir()
    many.reset_index(drop=True).to_parquet(model / "cross_fitted" / "wells.parquet")
    (model / "cross_fitted" / "run.json").write_text("{}")
    folder = tmp_path / "scores"
    shutil.copytree(scored.folder, folder)
    run = json.loads((folder / "run.json").read_text())
    run["model"]["folder"] = str(model)
    (folder / "run.json").write_text(json.dumps(run))
    page = bs.report(folder, tmp_path / "report.html").read_text("utf-8")
    assert "Expected calibration error 0.100, from 24 labelled wells that a model scored that did not see them" in page


def test_the_page_tells_what_the_tables_tell(scored, page):
    parsed, data = Parsed(page.read_text("utf-8")), data_of(page)
    wells = [attributes for tag, attributes in parsed.tags if tag == "button" and "well" in attributes.get("class", "")]
    assert len(wells) == len(scored.wells) == len(data["wells"])
    for row, told in zip(scored.wells.to_dict("records"), data["wells"], strict=True):
        assert told["well"] == row["well"]
        value = told["values"]["mil_probability:ring"]
        assert value == (pytest.approx(row["mil_probability:ring"]) if row["call"] else None)
        assert (row["call"] or "could not be scored") in told["told"]
    shown = " ".join(parsed.texts)
    assert str(int(scored.wells["n_cells"].sum())) in shown
    for cause in scored.failures["cause"]:
        assert cause in shown


def test_every_field_has_its_picture_and_outlines_once(scored, page):
    data = data_of(page)
    rows = scored.images.loc[scored.images["n_fields"] > 0, "row"]
    assert {f"f{row}" for row in rows} | {f"o{row}" for row in rows} <= set(data["pictures"])
    for content in data["pictures"].values():
        assert base64.b64decode(content.split(",", 1)[1])[:4] == b"RIFF"
    text = page.read_text("utf-8")
    assert text.count(data["pictures"][f"f{rows.iloc[0]}"]) == 1


def test_nothing_is_asked_of_another_place_and_only_our_script_may_run(page):
    text = page.read_text("utf-8")
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:|//)", text)
    parsed = Parsed(text)
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        body = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        told = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{told}'" in policy
    assert not [a for _, a in parsed.tags if any(name.startswith("on") or name == "style" for name in a)]


def test_names_are_shown_as_they_are_and_become_neither_markup_nor_script(model, toy, tmp_path):
    shutil.copytree(toy.parent, tmp_path / "toy")
    table = tmp_path / "toy" / "screen.csv"
    odd = [EVIL, WORSE, "&amp;", "a\u2028b", "'; alert(1)//", "{{ 7*7 }}", "=1+1", "x"]

    def change(rows):
        return [
            row | {"plate": odd[at], "treatment": odd[at], "unit": EVIL, "concentration": at}
            for at, row in enumerate(rows)
        ]

    toys.rewrite(table, change)
    scores = model.score(table, tmp_path / "scores", threads=1)
    beside = ExtraTable(EVIL, [WORSE], [EVIL], [[WORSE]])
    page = bs.report(scores, tmp_path / "report.html", beside=beside)
    text = page.read_text("utf-8")
    parsed = Parsed(text)
    known = {"img", "script", "button", "svg", "a"}
    assert not [a for tag, a in parsed.tags if tag in known and ("onerror" in a or a.get("src") == "x")]
    assert sum(tag == "script" for tag, _ in parsed.tags) == 2
    shown = " ".join(parsed.texts)
    for name in odd[:2]:
        assert name in shown
    assert {well["plate"] for well in data_of(page)["wells"]} == set(odd)
    assert "49" not in {text.strip() for text in parsed.texts}


@pytest.mark.parametrize("wells", [1, 96, 384, 1536, 3840])
def test_pictures_of_so_many_wells_stay_within_the_budget(wells):
    edge = edge_for(wells)
    assert 64 <= edge <= 420
    budget = BUDGET_SMALL if wells <= 400 else BUDGET_LARGE
    assert edge == 64 or wells * edge**2 * 0.42 <= budget * 1.01


def test_fields_unlike_all_others_are_flagged():
    seen = {row: (0.6 + 0.01 * row, 10.0) for row in range(20)} | {50: (0.2, 9.0), 51: (0.7, 0.5)}
    assert odd_fields(seen) == {50: "out of focus (little fine detail)", 51: "nearly empty (little contrast)"}
    assert odd_fields({}) == {}


def test_the_drawn_network_is_the_network():
    kinds = {"average pool": torch.nn.AvgPool2d, "max pool": torch.nn.MaxPool2d, "conv": torch.nn.Conv2d}
    net = KrausNet(2, 3)
    net.trunk.eval()
    sizes = map_sizes(2, 3, 200, 150)
    assert len([m for m in net.trunk if isinstance(m, tuple(kinds.values()))]) == len(sizes) - 2
    assert sizes[-1][1:] == tuple(net(torch.zeros(1, 2, 200, 150)).shape[1:])
    svg = architecture_chart(2, 3, 200, 150, "<b>", 4, 63)
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert architecture_chart(2, 3, 50, 150, "noisy_and", 4, 63) == ""


def test_the_page_shows_layers_when_the_model_is_given(model, scored, tmp_path):
    text = bs.report(scored, tmp_path / "report.html", model=model).read_text("utf-8")
    assert "First filters of the network" in text
    for name in model.classes:
        if (scored.cells["call"] == name).any() or scored.images[f"mil_probability:{name}"].notna().any():
            assert f"What the layers give for {name}" in text
    assert '<svg class="architecture"' in text


def test_images_unlike_the_training_ones_are_listed_with_the_reason(model, toy, tmp_path):
    shutil.copytree(toy.parent, tmp_path / "toy")
    table = tmp_path / "toy" / "screen.csv"
    last = tmp_path / "toy" / toys.table_of(table)[-1]["image"]
    write_ome_tiff(last, np.full((2, 72, 72), 40_000, np.uint16), channel_names=("dna", "gfp"))
    scores = model.score(table, tmp_path / "scores", threads=1)
    assert scores.images["unlike"].iloc[-1].startswith(("dna: ", "gfp: "))
    shown = " ".join(Parsed(bs.report(scores, tmp_path / "report.html").read_text("utf-8")).texts)
    assert f"unlike the training images ({scores.images['unlike'].iloc[-1]})" in shown


def test_many_plates_and_many_classes_and_wells_of_no_place_are_a_page_too(model, tmp_path):
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(90, 400, (2, 72, 72)).astype(np.uint16)
    write_ome_tiff(tmp_path / "images" / "a.tif", pixels, channel_names=("dna", "gfp"))
    lines = ["image,plate,well"]
    for plate in ("P1", "P2"):
        for well in ("A01", "P24", "AF48", ""):
            write_ome_tiff(tmp_path / f"{plate}{well}.tif", pixels + len(lines), channel_names=("dna", "gfp"))
            lines.append(f"{plate}{well}.tif,{plate},{well}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    scores = model.score(tmp_path / "table.csv", tmp_path / "scores", threads=1)
    text = bs.report(scores, tmp_path / "report.html").read_text("utf-8")
    assert text.count('class="plate size1536"') == 2
    assert "2 wells whose names are no place on a plate" in text


def test_a_page_is_made_without_the_images_and_the_model_and_says_so(scored, tmp_path):
    shutil.copytree(scored.folder, tmp_path / "scores")
    run = json.loads((tmp_path / "scores" / "run.json").read_text())
    run["table"], run["model"]["folder"] = str(tmp_path / "gone.csv"), ""
    (tmp_path / "scores" / "run.json").write_text(json.dumps(run))
    page = bs.report(tmp_path / "scores", tmp_path / "report.html")
    assert "no image is shown" in page.read_text("utf-8")
    assert "The model's folder is not there" in page.read_text("utf-8").replace("&#39;", "'")
    assert not data_of(page)["pictures"]


def test_what_the_model_may_have_learned_instead_comes_first(toy, tmp_path):
    shutil.copytree(toy.parent, tmp_path / "toy")
    table = tmp_path / "toy" / "screen.csv"
    rows = toys.table_of(table)
    classes = sorted({row["label"] for row in rows})
    toys.rewrite(table, lambda rows: [row | {"plate": f"P{classes.index(row['label'])}"} for row in rows])
    model = toys.quick(table, tmp_path / "model")
    assert "plate" in model.card.training["warnings"][0]
    scores = model.score(table, tmp_path / "scores", threads=1)
    page = bs.report(scores, tmp_path / "report.html")
    parsed = Parsed(page.read_text("utf-8"))
    shown = [text for text in parsed.texts if text.startswith("In training: ")]
    assert "separates" in shown[0] or "plate" in shown[0]
    listed = parsed.texts.index("Before you trust it")
    assert next(text for text in parsed.texts[listed + 1 :] if text.strip()) == shown[0]


def test_a_screen_of_which_nothing_could_be_scored_is_a_page_too(model, toy, tmp_path):
    scores = model.score(toy, tmp_path / "scores", threads=1)
    images, wells = (table.assign(**dict.fromkeys(table.filter(like="probability"), np.nan), call="", n_fields=0)
                     for table in (scores.images, scores.wells))  # fmt: skip
    for name, table in (("images", images), ("wells", wells)):
        table.to_parquet(scores.folder / f"{name}.parquet")
    text = bs.report(scores.folder, tmp_path / "report.html", model=model).read_text("utf-8")
    assert "could not be scored" in text
    assert not data_of(tmp_path / "report.html")["pictures"]


def test_forty_classes_are_a_page_too(toy, tmp_path):
    names = [f"class {k:02d}" for k in range(40)]
    rng = np.random.default_rng(0)
    lines = ["image,plate,well,label"]
    for at in range(80):
        pixels = rng.integers(90, 400, (2, 72, 72)).astype(np.uint16)
        write_ome_tiff(tmp_path / f"{at}.tif", pixels, channel_names=("dna", "gfp"))
        lines.append(f"{at}.tif,P,{chr(65 + at // 12)}{at % 12 + 1:02d},{names[at % 40]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    model = toys.quick(tmp_path / "t.csv", tmp_path / "model", validation=0, **{"self_training.steps": 0})
    scores = model.score(tmp_path / "t.csv", tmp_path / "scores", threads=1)
    text = bs.report(scores, tmp_path / "report.html", model=model).read_text("utf-8")
    assert len(text) < 10_000_000
    for name in names:
        assert name in text
    assert {well["mark"] for well in data_of(tmp_path / "report.html")["wells"] if "mark" in well} <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.?x&"
    )


def test_no_scores_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no finished scores"):
        bs.report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


# In a browser --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_clicks_through_the_page_without_an_error_or_an_outside_request(browser, page, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    data = data_of(page)
    for at, button in enumerate(tab.locator(".well").all()):
        button.click()
        assert data["wells"][at]["well"] in tab.locator("#panel h3").inner_text()
    pictures = tab.locator("#panel img")
    assert pictures.count() >= 1
    assert pictures.first.evaluate("image => image.complete && image.naturalWidth > 10")
    tab.select_option("#value", "probability:ring")
    assert tab.locator("#scale").is_visible()
    tab.locator(".well").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".well[aria-pressed=true]").count() == 1
    before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    assert tab.evaluate("typeof window.EVIL") == "undefined"
    assert not said
    assert all(url.startswith(("file:", "data:")) for url in asked)
    tab.close()
