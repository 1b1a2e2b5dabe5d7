"""Does the demo do the whole job, and say what its odd and foreign images are?"""

from __future__ import annotations

from functools import partial

import pytest

from bagscope.engine.events import SILENT
from bagscope.reproduce import demo
from bagscope.reproduce.demo import FOREIGN_PLATE, run_demo
from bagscope.synth.plate import simulate_plate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The demo on half a plate: two replicates of each dose, and as many steps of the main training as always."""

    def half(out, seed, rows=4, **options):
        return simulate_plate(out, seed, rows, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "simulate_plate", half)
        patch.setattr(demo, "train", partial(demo.train, **{"self_training.steps": 20}))
        patch.setattr("bagscope.images.pseudo_labels.FIELDS_FOR_MAPS", 8)
        return run_demo(tmp_path_factory.mktemp("demo") / "out", 1, "cpu", None, False, SILENT)


def test_clear_wells_are_called_right_and_doses_found(shown):
    assert shown.values["right"] == shown.values["clear"] > 15
    assert shown.values["rank_correlation"] > 0.9
    assert shown.values["failed"] == 1


def test_images_of_another_microscope_and_odd_ones_are_flagged_and_no_others(shown):
    images = shown.scores.images[shown.scores.images["n_fields"] > 0]
    assert (images.loc[images["plate"] == FOREIGN_PLATE, "unlike"] != "").all()
    assert shown.values["unlike_usual"] == 0
    said = next(line for line in shown.lines if "unlike" in line)
    assert "(empty): yes" in said
    assert "(out of focus): yes" in said


def test_the_page_shows_both_plates_truth_and_layers(shown):
    text = (shown.scores.folder.parent / "report.html").read_text("utf-8")
    assert text.count("<figcaption>demo0") == 2
    assert "Truth beside calls" in text
    assert "What the layers give for positive" in text
    assert "unlike the training images" in text
