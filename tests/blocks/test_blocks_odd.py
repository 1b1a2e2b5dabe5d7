"""Are odd blocks taken for what they are: overlapping, of another level, in per cent, of classes that do not fit?"""

import shutil
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from test_blocks_check import GOOD, problems, said

from bagscope.blocks.check import check_blocks, check_scoring
from bagscope.blocks.rows import LabelReading, known_blocks
from bagscope.blocks.samples import BlockCrops, BlockRows, CropPlan, Scaling, View
from bagscope.errors import ModelError, TableError
from bagscope.files.worker import DecodingWorker
from bagscope.settings.jobs import BlocksJob, BlocksReadJob, make_job
from bagscope.tables.boxes import Blocks, coarser
from tissue import EDGE, picture, proportions, screen_of, spots, trained

SHORT = {"steps": 2, "second.steps": 1}


@pytest.fixture
def place(screen, tmp_path):
    shutil.copytree(screen, tmp_path / "s")
    return tmp_path / "s"


def changed(path, change):
    table = pd.read_csv(path)
    change(table)
    table.to_csv(path, index=False)


class Held:
    """A store of one plain picture."""

    held = True

    def __init__(self, height, width):
        self.shapes = [(1, height, width)]

    def __len__(self):
        return 1

    def window(self, row, y0, y1, x0, x1):
        return np.zeros((1, y1 - y0, x1 - x0), np.uint8)


def test_of_overlapping_blocks_each_that_counts_is_whole():
    y, x = (one.ravel() for one in np.mgrid[:7, :7] * 8)
    blocks = Blocks(y, x, np.full(49, 16), np.array(["a", "b"], dtype=object)[np.arange(49) % 2])
    rows = BlockRows(Held(64, 64), [blocks], np.array([2]), [None])
    view = View(**dict.fromkeys(View.__dataclass_fields__, 0) | {"context": 48})
    crops = BlockCrops(rows, ("a", "b"), CropPlan(Scaling((0.0,), (1.0,), False, 255), view, size=3, seed=0))
    seen = 0
    for step in range(8):
        batch = crops.step(step, torch.device("cpu"))
        counts = torch.bincount(batch.index[batch.index >= 0])
        assert len(counts) == len(batch.coarse)
        assert (counts == 16 * 16).all()
        seen += len(counts)
    assert seen > 24  # at least the block that a crop is about


def test_changed_labels_are_another_training(place, tmp_path):
    trained(place, tmp_path / "m", **SHORT)
    shutil.copy(place / "p.csv", place / "copy.csv")
    trained(place, tmp_path / "m", resume=True, proportions=str(place / "copy.csv"), **SHORT)
    changed(place / "p.csv", lambda table: table.__setitem__("sd", table["sd"] + 0.05))
    with pytest.raises(ModelError, match="other rows or files"):
        trained(place, tmp_path / "m", resume=True, **SHORT)
    shutil.copy(place / "copy.csv", place / "p.csv")
    changed(place / "b0.csv", lambda table: table.__setitem__("class", table["class"].iloc[::-1].to_numpy()))
    with pytest.raises(ModelError, match="other rows or files"):
        trained(place, tmp_path / "m", resume=True, **SHORT)


def test_pixel_labels_alone_need_no_blocks(place, tmp_path):
    changed(place / "s.csv", lambda table: table.drop(columns="coarse", inplace=True))
    model = trained(place, tmp_path / "m", **{"blocks.method": "pixels", "blocks.pixels": "truth"}, **SHORT)
    assert model.predict(np.zeros((1, 40, 40), np.uint8)).shape == (2, 40, 40)


def test_boxes_count_pixels_of_the_full_resolution_at_every_level(place):
    for at in range(4):
        pixels = picture(spots(at), at)
        with tifffile.TiffWriter(place / f"i{at}.tif") as file:
            file.write(pixels, subifds=1, tile=(64, 64))
            file.write(pixels[::2, ::2], subfiletype=1, tile=(64, 64))
    job = make_job(BlocksJob, None, {"proportions": str(place / "p.csv"), "images.level": 1, "blocks.pixels": ""})
    found = check_blocks(place / "s.csv", job)
    whole = check_blocks(place / "s.csv", make_job(BlocksJob, None, {"proportions": str(place / "p.csv")}))
    for at, one in whole.known.items():
        assert np.array_equal(found.known[at].blocks.y * 2, one.blocks.y)
        assert np.array_equal(found.known[at].blocks.size * 2, one.blocks.size)
        assert (found.known[at].blocks.coarse == one.blocks.coarse).all()


def test_boxes_off_the_pixels_of_a_level_are_left_out():
    coarse = np.array(["a", "b"], dtype=object)
    found, off = coarser(Blocks(np.array([0, 3]), np.array([4, 4]), np.array([8, 8]), coarse), (2.0, 2.0))
    assert (found.y.tolist(), found.x.tolist(), found.size.tolist(), off) == ([0], [2], [4], 1)


def boxes_of(folder, probabilities):
    for name, values in probabilities.items():
        table = {"x": np.arange(len(values)) * EDGE, "y": 0, "size": EDGE, "probability": values}
        pd.DataFrame(table).to_csv(folder / name, index=False)


def known_of(folder):
    report = check_scoring(folder / "s.csv", make_job(BlocksReadJob))
    job = make_job(BlocksJob)
    with closing(DecodingWorker(60)) as worker:
        return known_blocks(report.screen, report.headers, job.images, LabelReading(job.blocks, 2, worker))


def test_per_cent_is_a_matter_of_all_tables(place):
    boxes_of(place, {"b0.csv": [0, 0.6, 1, 0], "b1.csv": [0, 60, 97, 30]})
    known, problems = known_of(place)
    assert known[0].blocks.coarse.tolist() == ["0-20"] * 4
    assert known[1].blocks.coarse.tolist() == ["0-20", "60-70", "95-100", "30-40"]
    assert sum(problem.code == "per_cent" for problem in problems) == 2


def test_one_number_above_one_among_shares_is_refused(place):
    boxes_of(place, {"b0.csv": [0, 0, 0, 0, 0.75, 0.2, 75], "b1.csv": [0, 0.6]})
    _, problems = known_of(place)
    assert [problem.severity for problem in problems if problem.code == "mixed"] == ["refuse"]


def test_a_file_of_boxes_of_which_none_is_left_lists_its_image(place):
    changed(place / "b0.csv", lambda table: table.__setitem__("x", table["x"] + 0.5))
    one = said(problems(place), "bad_box")
    assert one.severity == "list"
    assert "no box can be used" in one.cause


def test_an_image_smaller_than_a_block_is_listed_and_does_not_shrink_the_crops_of_others(tmp_path):
    screen_of(tmp_path, sizes=[(96, 128), (14, 40)])
    pd.DataFrame({"x": [0], "y": [0], "size": [10], "class": ["little"]}).to_csv(tmp_path / "b1.csv", index=False)
    report = problems(tmp_path)
    assert "14x40 is smaller than the largest block, 16 px" in said(report, "small_image").cause
    assert "crops have 96 px" in said(report, "small_context").cause


def test_an_image_just_as_large_as_a_block_is_used(tmp_path):
    screen_of(tmp_path, rows=2, sizes=[(96, 128), (16, 40)])
    changed(tmp_path / "s.csv", lambda table: table.__setitem__("split", "train"))
    report = problems(tmp_path)
    assert "small_image" not in [problem.code for problem in report]
    assert report.listed == frozenset()


def test_rows_for_validation_teach_nothing(place):
    changed(place / "s.csv", lambda table: table.__setitem__("split", ["train", "validation", "test", "test"]))
    found = check_blocks(place / "s.csv", make_job(BlocksJob, None, {"proportions": str(place / "p.csv")}))
    assert list(found.known) == [0]


def test_blocks_without_a_row_can_be_left_out(place, tmp_path):
    proportions(place / "p.csv", GOOD)
    changed(place / "b0.csv", lambda table: table.loc.__setitem__((0, "class"), "rare"))
    assert said(problems(place), "no_proportions").severity == "refuse"
    report = problems(place, **{"blocks.unknown": "leave"})
    assert "1 blocks of coarse classes" in said(report, "unknown_left").cause
    assert report.exit_code == 0
    trained(place, tmp_path / "m", **{"blocks.unknown": "leave"}, **SHORT)


def test_blocks_that_cover_little_are_warned_of(place):
    for name in ("b0.csv", "b1.csv"):
        changed(place / name, lambda table: table.drop(index=table.index[12:], inplace=True))
    assert "blocks cover 25% of their images" in said(problems(place), "uncovered").cause


def test_one_fine_class_and_a_threshold_of_three_are_refused(place):
    proportions(place / "p.csv", [("little", "spot", 1, 0.1, 12), ("much", "spot", 1, 0.1, 12)])
    assert "one fine class alone" in said(problems(place), "one_fine").cause
    rows = [(c, f, m, 0.1, 12) for c in ("little", "much") for f, m in (("a", 0.5), ("b", 0.25), ("c", 0.25))]
    proportions(place / "p.csv", rows)
    assert "3 fine classes" in said(problems(place, **{"maps.threshold": "table"}), "bad_setting").cause


def test_decimal_commas_are_numbers(place):
    (place / "p.csv").write_text("coarse;fine;mean;sd;n\n" + "\n".join(
        ";".join(str(value).replace(".", ",") for value in row) for row in GOOD))  # fmt: skip
    assert problems(place).exit_code == 0


def test_areas_in_um2_of_images_that_know_no_size_are_refused(place, model):
    with pytest.raises(TableError, match="for any image"):
        model.score(place / "s.csv", place / "scores", **{"maps.area": "um2"})
    assert not (place / "scores" / "run.json").exists()
