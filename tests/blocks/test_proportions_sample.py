"""Does the sheet show what was drawn, evenly and blindly, and does nothing of an expert's work get lost?"""

import base64
import io
import json
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from proportions_drawn import filled, run, screen_of, share_of, written

import toys
from bagscope.tables.draws import spread_draw

FINE = ("--fine", "rest,tissue")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A folder with a screen of four images, and what `sample` made of it."""
    place = tmp_path_factory.mktemp("sampled")
    screen_of(place)
    code, out, said = run(place, "sample", "screen.csv", "-o", "sheet", "--per-class", 5, *FINE, "--json")
    assert code == 0, said
    return place, out, said


def rows_of(place, name="sheet"):
    return toys.table_of(place / name / "form.csv")


def pictures_of(page):
    """Pictures of a page, (E, E, 3) each, in its order."""
    found = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


# What is drawn ---------------------------------------------------------------------------------------------


def test_every_class_has_its_blocks_evenly_from_all_images_but_those_for_testing(sampled):
    rows = rows_of(sampled[0])
    assert Counter(row["coarse"] for row in rows) == {f"class {k}": 5 for k in range(6)}
    for k in range(6):
        counts = Counter(row["image"] for row in rows if row["coarse"] == f"class {k}")
        assert set(counts) == {"i0.tif", "i1.tif", "i2.tif"}  # i3 is for testing
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len({(row["image"], row["x"], row["y"]) for row in rows}) == 30
    assert [int(row["block"]) for row in rows] == list(range(1, 31))
    assert list(rows[0]) == ["block", "image", "x", "y", "size", "coarse", "rest", "tissue"]
    assert not any(row["rest"] or row["tissue"] for row in rows)


def test_a_group_of_many_images_has_no_more_blocks_than_one_of_few():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(9), 20)
    groups = ["many"] * 8 + ["few"]
    for taken in ([], [0, 0, 0, 0]):
        drawn = spread_draw(image, groups, 16, rng, taken)
        counts = Counter(groups[image[k]] for k in drawn) + Counter(groups[k] for k in taken)
        assert abs(counts["many"] - counts["few"]) <= 1
        of_many = (
            Counter(dict.fromkeys(range(8), 0)) + Counter(image[k] for k in drawn if image[k] < 8) + Counter(taken)
        )
        assert len(set(drawn.tolist())) == 16
        if not taken:
            assert max(of_many.values()) == 1


def test_fewer_blocks_than_asked_for_are_all_drawn_and_said(tmp_path):
    assert len(spread_draw(np.array([0, 0, 1]), ["a", "b"], 12, np.random.default_rng(0))) == 3
    screen_of(tmp_path, images=2)
    code, out, said = run(tmp_path, "sample", "screen.csv", "-o", "sheet", *FINE, "--json")
    assert code == 0
    assert "coarse class 'class 0' has only 6 blocks" in said
    assert json.loads(out.splitlines()[-1])["short"]["class 5"] == 6


def test_the_seed_decides_the_draw(sampled, tmp_path):
    screen_of(tmp_path)
    forms = {}
    for name, seed in (("same", 0), ("other", 1)):
        run(tmp_path, "sample", "screen.csv", "-o", name, "--per-class", 5, *FINE, "--seed", seed)
        forms[name] = (tmp_path / name / "form.csv").read_bytes()
    assert forms["same"] == (sampled[0] / "sheet" / "form.csv").read_bytes()
    assert forms["other"] != forms["same"]


def test_some_classes_alone_can_be_drawn_from(tmp_path):
    screen_of(tmp_path)
    words = ("sample", "screen.csv", "-o", "sheet", *FINE)
    assert run(tmp_path, *words, "--coarse", "class 1,class 4", "--per-class", 3)[0] == 0
    assert Counter(row["coarse"] for row in rows_of(tmp_path)) == {"class 1": 3, "class 4": 3}
    code, _, said = run(tmp_path, *words[:3], "new", *FINE, "--coarse", "clas 1")
    assert code == 2
    assert "did you mean 'class 1'" in said


def test_a_table_of_groups_is_drawn_from_by_groups(tmp_path):
    screen_of(tmp_path, images=6, group=["a", "a", "a", "a", "b", "c"])
    assert run(tmp_path, "sample", "screen.csv", "-o", "sheet", "--per-class", 6, *FINE)[0] == 0
    counts = Counter(row["image"] == "i4.tif" for row in rows_of(tmp_path))
    assert counts[True] == counts[False]


# What is shown ---------------------------------------------------------------------------------------------


def test_each_picture_is_its_block_in_the_middle_of_what_is_around_it(sampled):
    place = sampled[0]
    rows, pictures = rows_of(place), pictures_of((place / "sheet" / "sheet.html").read_text("utf-8"))
    assert len(pictures) == len(rows)
    for row, drawn in zip(rows, pictures, strict=True):
        assert drawn.shape == (48, 48, 3)
        inner = drawn[18:30, 16:32, 0].mean(0) > 128
        share = share_of(int(row["image"][1:-4]), int(row["y"]) // 16, int(row["x"]) // 16)
        assert abs(inner.mean() - share) <= 1 / 16, row  # WebP blurs an edge by a pixel
        # Beyond the image there is grey, neither black nor white.
        if row["x"] == "0":
            assert np.abs(drawn[:, 2:12].astype(int) - 96).max() < 30


def test_a_large_view_is_shrunk_and_colours_are_as_photographed(tmp_path):
    pixels = np.zeros((600, 600, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = 180, 90
    Image.fromarray(pixels).save(tmp_path / "a.png")
    boxes = [{"x": 200, "y": 200, "size": 200, "class": name} for name in ("low", "high")]
    written(tmp_path / "b.csv", boxes)
    written(tmp_path / "screen.csv", [{"image": "a.png", "coarse": "b.csv"}])
    assert run(tmp_path, "sample", "screen.csv", "-o", "sheet", *FINE)[0] == 0
    drawn = pictures_of((tmp_path / "sheet" / "sheet.html").read_text("utf-8"))
    assert drawn[0].shape == (300, 300, 3)
    assert np.abs(drawn[0].reshape(-1, 3).mean(0) - [180, 0, 90]).max() < 6


def test_the_page_does_not_say_the_class_unless_it_is_asked_to(sampled, tmp_path):
    page = (sampled[0] / "sheet" / "sheet.html").read_text("utf-8")
    seen = page.split('<script type="application/json"')[0]
    assert "class 3" not in seen
    assert [row["coarse"] for row in rows_of(sampled[0])] != sorted(row["coarse"] for row in rows_of(sampled[0]))
    screen_of(tmp_path)
    assert run(tmp_path, "sample", "screen.csv", "-o", "sheet", *FINE, "--per-class", 2, "--show-classes")[0] == 0
    told = (tmp_path / "sheet" / "sheet.html").read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", told) == [f"class {k}" for k in range(6)]
    assert [row["coarse"] for row in rows_of(tmp_path)] == [f"class {k // 2}" for k in range(12)]


def test_the_sheet_to_print_is_a_picture_with_outlines(sampled):
    drawn = np.asarray(Image.open(sampled[0] / "sheet" / "sheet.png").convert("RGB")).astype(int)
    assert min(drawn.shape[:2]) > 300
    yellow = np.abs(drawn - [255, 221, 0]).max(2) < 20
    # 30 blocks, six in a row: a line above and below each row of blocks, and one on each side of each column.
    assert (yellow.sum(1) > 6 * 30).sum() >= 2 * 5
    assert (yellow.sum(0) > 5 * 30).sum() >= 2 * 6


def test_names_from_a_table_never_become_markup_or_script(tmp_path):
    screen_of(tmp_path)
    evil = '</script><img src=x onerror="EVIL=1">'
    toys.rewrite(tmp_path / "b0.csv", lambda rows: [row | {"class": evil} for row in rows])
    assert run(tmp_path, "sample", "screen.csv", "-o", "sheet", "--fine", f"rest,{evil}", "--show-classes")[0] == 0
    page = (tmp_path / "sheet" / "sheet.html").read_text("utf-8")
    assert "<img src=x" not in page
    assert page.count("</script>") == 2
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


# Talk and codes --------------------------------------------------------------------------------------------


def test_it_says_what_it_will_do_and_what_comes_next(sampled):
    _, out, said = sampled
    lines = said.splitlines()
    assert lines[0] == "Drawing up to 5 blocks of each coarse class of screen.csv into sheet"
    assert "bagscope proportions read form.csv -o proportions.csv" in lines[-1]
    told = json.loads(out.splitlines()[-1])
    assert (told["form"], told["blocks"], told["failed"]) == ("sheet/form.csv", 30, 0)
    assert told["classes"] == {f"class {k}": 5 for k in range(6)}


def test_quiet_says_only_where_the_form_is(tmp_path):
    screen_of(tmp_path)
    words = ("sample", "screen.csv", "-o", "sheet", *FINE, "--per-class", 2, "--quiet")
    assert run(tmp_path, *words) == (0, "sheet/form.csv\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["screen.csv"], "--fine"),
        (["screen.csv", "--fine", "tumour"], "at least two"),
        (["screen.csv", "--fine", "a,a"], "there twice"),
        (["screen.csv", "--fine", "a,x"], "another column"),
        (["gone.csv", *FINE], "gone.csv"),
        (["screen.csv", *FINE, "--per-class", "0"], "per-class"),
        (["screen.csv", *FINE, "--more", "gone.csv"], "gone.csv"),
        (["screen.csv", *FINE, "--set", "blocks.sise=3"], "blocks.size"),
        (["plain.csv", *FINE], "no image has a block"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_2_and_writes_nothing(words, told, tmp_path):
    screen_of(tmp_path)
    written(tmp_path / "plain.csv", [{"image": "i0.tif"}])
    code, _, said = run(tmp_path, "sample", *words, "-o", "new")
    assert code == 2, said
    assert told in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()


def test_an_image_that_fails_is_named_and_its_blocks_come_from_others(tmp_path):
    screen_of(tmp_path, images=5)
    # One is broken from its start, one only where its pixels are.
    (tmp_path / "i0.tif").write_bytes(b"<!doctype html>")
    whole = (tmp_path / "i1.tif").read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(whole)))
    Image.fromarray(pixels).save(tmp_path / "good.png")
    content = bytearray((tmp_path / "good.png").read_bytes())
    at = content.index(b"IDAT") + 20
    content[at : at + 8] = bytes(8)
    (tmp_path / "i1.tif").write_bytes(bytes(content))
    code, out, said = run(tmp_path, "sample", "screen.csv", "-o", "sheet", "--per-class", 4, *FINE, "--json")
    assert code == 3
    assert "2 of 5 images failed, see sheet/failures.csv" in said
    assert [row["image"] for row in toys.table_of(tmp_path / "sheet" / "failures.csv")] == ["i0.tif", "i1.tif"]
    assert json.loads(out.splitlines()[-1])["failed"] == 2
    rows = rows_of(tmp_path)
    assert {row["image"] for row in rows} == {"i2.tif", "i3.tif"}
    assert Counter(row["coarse"] for row in rows) == {f"class {k}": 4 for k in range(6)}


# An expert's work ------------------------------------------------------------------------------------------


def test_a_form_that_was_begun_is_never_replaced(tmp_path):
    screen_of(tmp_path)
    words = ("sample", "screen.csv", "-o", "sheet", *FINE, "--per-class", 2)
    assert run(tmp_path, *words)[0] == 0
    assert run(tmp_path, *words)[0] == 4
    assert run(tmp_path, *words, "--overwrite")[0] == 0
    for damage in (lambda rows: [rows[0] | {"tissue": "40"}, *rows[1:]], lambda rows: [rows[0] | {"tissue": "x"}]):
        toys.rewrite(tmp_path / "sheet" / "form.csv", damage)
        before = (tmp_path / "sheet" / "form.csv").read_bytes()
        code, _, said = run(tmp_path, *words, "--overwrite")
        assert code == 4
        assert "begun to fill in" in said
        assert (tmp_path / "sheet" / "form.csv").read_bytes() == before


def test_more_blocks_are_added_to_those_that_were_judged(tmp_path):
    screen_of(tmp_path)
    assert run(tmp_path, "sample", "screen.csv", "-o", "first", "--per-class", 3, *FINE)[0] == 0
    filled(tmp_path / "first" / "form.csv")
    words = ("sample", "screen.csv", "-o", "second", "--per-class", 7, "--more", "first/form.csv")
    assert run(tmp_path, *words)[0] == 0
    before, after = rows_of(tmp_path, "first"), rows_of(tmp_path, "second")
    assert [row["block"] for row in after] == [str(k + 1) for k in range(42)]
    for old, new in zip(before, after, strict=False):
        assert {**old, "rest": "", "tissue": ""} == {**new, "rest": "", "tissue": ""}
        assert new["tissue"] == f"{float(old['tissue']):.6g}%"
    assert Counter(row["coarse"] for row in after) == {f"class {k}": 7 for k in range(6)}
    assert len({(row["image"], row["x"], row["y"]) for row in after}) == 42
    assert len(pictures_of((tmp_path / "second" / "sheet.html").read_text("utf-8"))) == 42
    code, _, said = run(tmp_path, *words[:3], "third", "--more", "first/form.csv", "--fine", "a,b")
    assert code == 2
    assert "taken from the form" in said


def test_a_form_of_another_table_is_refused(tmp_path):
    screen_of(tmp_path)
    assert run(tmp_path, "sample", "screen.csv", "-o", "first", "--per-class", 1, *FINE)[0] == 0
    form = tmp_path / "first" / "form.csv"
    toys.rewrite(form, lambda rows: [rows[0] | {"image": "other.tif"}, rows[1] | {"x": "90"}, *rows[2:]])
    code, _, said = run(tmp_path, "sample", "screen.csv", "-o", "second", "--more", "first/form.csv")
    assert code == 2
    assert "image 'other.tif'" in said
    assert "lies outside of" in said
    assert not (tmp_path / "second").exists()


# In a browser ----------------------------------------------------------------------------------------------


def opened(browser, page):
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    heard = []
    tab.on("console", lambda message: heard.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on(
        "request", lambda one: heard.append(one.url) if not one.url.startswith(("file:", "data:", "blob:")) else None
    )
    tab.goto(page.as_uri())
    return tab, heard


def test_the_sheet_is_filled_in_by_keyboard_and_saves_a_form_that_can_be_read(browser, sampled, tmp_path):
    place = sampled[0]
    tab, heard = opened(browser, place / "sheet" / "sheet.html")
    tab.locator(".share").first.focus()
    for at in range(30):
        tab.keyboard.type("" if at == 4 else f"{at + 1},5")
        tab.keyboard.press("Enter")
    assert tab.locator("#done").inner_text() == "29 of 30 blocks done"
    assert tab.locator("output").nth(2).inner_text() == "96.5 %"
    tab.keyboard.press("Shift+Enter")
    for wrong in ("0.5", "101", "x", "-1"):
        tab.keyboard.press("Control+a")
        tab.keyboard.type(wrong)
        tab.click("#save")
        assert tab.locator("#said").inner_text(), wrong
        assert tab.locator(".share[aria-invalid=true]").count() == 1
    tab.locator(".share").nth(28).fill("100")
    with tab.expect_download() as waited:
        tab.click("#save")
    assert waited.value.suggested_filename == "form.csv"
    waited.value.save_as(tmp_path / "form.csv")
    rows, before = toys.table_of(tmp_path / "form.csv"), rows_of(place)
    assert [list(row.values())[:6] for row in rows] == [list(row.values())[:6] for row in before]
    assert (rows[3]["rest"], rows[3]["tissue"]) == ("95.5%", "4.5%")
    assert (rows[4]["rest"], rows[4]["tissue"]) == ("", "")
    assert rows[28]["tissue"] == "100%"
    assert run(tmp_path, "read", "form.csv", "-o", "p.csv")[0] == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    assert not heard
    tab.close()


def test_of_three_classes_two_are_asked_for_and_half_a_block_is_not_saved(browser, tmp_path):
    screen_of(tmp_path)
    assert run(tmp_path, "sample", "screen.csv", "-o", "sheet", "--fine", "rest,a,b", "--per-class", 1)[0] == 0
    tab, heard = opened(browser, tmp_path / "sheet" / "sheet.html")
    fields = tab.locator(".share")
    assert fields.count() == 12
    fields.nth(0).fill("30")
    tab.click("#save")
    assert "missing" in tab.locator("#said").inner_text()
    fields.nth(1).fill("80")
    tab.click("#save")
    assert "more than 100" in tab.locator("#said").inner_text()
    fields.nth(1).fill("20")
    with tab.expect_download() as waited:
        tab.click("#save")
    waited.value.save_as(tmp_path / "form.csv")
    first = toys.table_of(tmp_path / "form.csv")[0]
    assert (first["rest"], first["a"], first["b"]) == ("50%", "30%", "20%")
    assert not heard
    tab.close()
