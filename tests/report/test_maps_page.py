"""Does a score folder of maps become a page that shows them, says what they add up to, and runs nothing of others?"""

import re
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

import bagscope as bs
from bagscope.files.field import FieldFiles
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import write_ome_tiff
from bagscope.report.maps import EDGE, small_of
from bagscope.report.page_images import PageImages
from dangerous import LIMIT_S, let_names_be_dangerous

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    rng, rows = np.random.default_rng(0), []
    y, x = np.mgrid[:3, :3] * 32
    for number in range(3):
        truth = np.add.outer(np.arange(96), np.zeros(96)) > 30 + 12 * number
        pixels = np.clip(50 + 120 * truth + rng.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
        write_ome_tiff(
            folder / f"i{number}.ome.tif", np.stack([pixels] * 3), channel_names=["R", "G", "B"], pixel_um=0.5
        )
        write_ome_tiff(folder / f"t{number}.ome.tif", (1 + truth)[None].astype(np.uint8), channel_names=["t"])
        share = truth.reshape(3, 32, 3, 32).mean((1, 3)).ravel()
        boxes = {"x": x.ravel(), "y": y.ravel(), "size": 32, "class": np.where(share > 0.5, "full", "empty")}
        pd.DataFrame(boxes).to_csv(folder / f"b{number}.csv", index=False)
        rows.append((f"i{number}.ome.tif", f"b{number}.csv", f"t{number}.ome.tif", "test" if number == 2 else "train"))
    pd.DataFrame(rows, columns=["image", "coarse", "truth", "split"]).to_csv(folder / "s.csv", index=False)
    table = [(c, f, m, 0.1, 9) for c, s in (("full", 0.9), ("empty", 0.1)) for f, m in (("rest", 1 - s), (HOSTILE, s))]
    pd.DataFrame(table, columns=["coarse", "fine", "mean", "sd", "n"]).to_csv(folder / "p.csv", index=False)
    few = {"training.batch": 2, "network.widths": [4, 8], "second.steps": 2}
    model = bs.train(folder / "s.csv", folder / "m", task="blocks", steps=12, proportions=str(folder / "p.csv"), **few)
    model.score(folder / "s.csv", folder / "sc", **{"blocks.truth": "truth"})
    return folder


def test_every_image_is_shown_beside_its_map(scored, tmp_path):
    bs.report(scored / "sc", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("data:image/webp;base64,") == 2 * 3
    assert "i2.ome.tif<br>" in page  # not trained on
    assert "i0.ome.tif (trained on)<br>" in page
    images = pd.read_parquet(scored / "sc" / "images.parquet")
    share = images[f"share:{HOSTILE}"].iloc[2]
    assert f"{share:.1%}" in page
    assert "µm²" in page or "mm²" in page
    assert "Against the truth" in page
    assert "images not trained on (1)" in page
    assert "Do blocks hold what was told?" in page


def test_names_of_others_are_text_and_no_other_place_is_asked(scored, tmp_path):
    bs.report(scored / "sc", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_a_page_without_images_and_model_says_so(scored, tmp_path):
    for name in ("m", "s.csv"):
        (scored / name).rename(scored / f"away_{name}")
    try:
        bs.report(scored / "sc", tmp_path / "r.html")
    finally:
        for name in ("m", "s.csv"):
            (scored / f"away_{name}").rename(scored / name)
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "No image can be shown." in page
    assert "not there any more" in page


def test_images_that_end_the_process_that_decodes_them_are_left_out_and_named(scored, tmp_path, monkeypatch):
    rows = (scored / "s.csv").read_text()
    for number, name in enumerate(("crash", "hang")):
        (tmp_path / f"{name}.ome.tif").write_bytes((scored / f"i{number}.ome.tif").read_bytes())
        rows = rows.replace(f"i{number}.ome.tif", f"{name}.ome.tif")
    for path in [*scored.glob("i2*"), *scored.glob("b*.csv"), *scored.glob("t*.tif")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "s.csv").write_text(rows)
    bs.load(scored / "m").score(tmp_path / "s.csv", tmp_path / "sc", **{"compute.io_timeout": LIMIT_S})
    let_names_be_dangerous(monkeypatch)
    bs.report(tmp_path / "sc", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("data:image/webp;base64,") == 2
    assert "i2.ome.tif<br>" in page
    assert "Pictures of 2 files are missing" in page
    assert "crash.ome.tif: it killed the decoding process" in page
    assert f"hang.ome.tif: reading it took longer than {LIMIT_S} s" in page


def test_large_images_are_averaged_piece_by_piece(tmp_path, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 255, (1, 3 * EDGE, 2 * EDGE + 7), np.uint8)
    write_ome_tiff(tmp_path / "x.ome.tif", pixels, channel_names=["c"])
    field = FieldFiles((tmp_path / "x.ome.tif",), ())
    with closing(DecodingWorker(60)) as worker:
        whole = small_of(field, PageImages(worker))
        monkeypatch.setattr("bagscope.report.maps._PORTION", 100_000)
        assert np.array_equal(small_of(field, PageImages(worker)), whole)
    assert max(whole.shape) <= EDGE
    assert whole[0, 5, 9] == pytest.approx(pixels[0, 15:18, 27:30].mean(), abs=0.5)
