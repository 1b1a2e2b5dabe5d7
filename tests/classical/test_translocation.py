"""Is the share of positive cells that of the cells drawn positive?"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cells_drawn import CELL, ellipse, field, scattered

from bagscope.classical.rings import RingTable
from bagscope.classical.translocation import choose_threshold, measure_cells, share_positive
from bagscope.errors import BagscopeError
from bagscope.files.reader import open_image
from bagscope.importers import import_screen
from bagscope.ops.metrics import balanced_accuracy

DATA = Path(os.environ.get("BAGSCOPE_DATA", ""), "bbbc013")
SHAPE = 240, 240
# Protein in nucleus and cytoplasm, over the dark level.
POSITIVE, NEGATIVE, DARK = (90, 20), (25, 60), (3, 3)


def drawn(kinds, noise=1.5):
    """DNA and protein of 25 cells, whose kinds are repeated in turn."""
    centres = scattered()
    inner = [ellipse(SHAPE, c, (9, 6.5), turn) for turn, c in enumerate(centres)]
    cells = [ellipse(SHAPE, c, (CELL, CELL)) for c in centres]
    protein = np.full(SHAPE, 4.0)
    for at, (nucleus, whole) in enumerate(zip(inner, cells, strict=True)):
        protein[whole], protein[nucleus] = (4 + light for light in reversed(kinds[at % len(kinds)]))
    noisy = protein + np.random.default_rng(1).normal(0, noise, SHAPE)
    return field(SHAPE, inner, cytoplasm=cells, haze=20, noise=noise), noisy


def ratios(values, gated=None):
    """A table of these ratios."""
    values = np.asarray(values, float)
    other = np.zeros(len(values))
    bright = np.ones(len(values), bool) if gated is None else np.asarray(gated)
    return RingTable(other, other, other, other, other, other, values, bright)


def test_the_share_is_that_of_the_cells_drawn_positive_among_those_with_protein():
    table = measure_cells(*drawn([POSITIVE, NEGATIVE, NEGATIVE, DARK, POSITIVE]))
    assert len(table) == 25
    assert table.gated.sum() == 20
    assert share_positive(table) == 10 / 20
    # The noise of the medians, and an edge that lies up to a pixel off.
    assert np.sort(table.ratio[table.gated]) == pytest.approx([26 / 61] * 10 + [91 / 21] * 10, rel=0.15)


def test_a_field_without_cells_or_without_protein_has_no_share():
    empty = np.full(SHAPE, 5.0)
    assert len(measure_cells(empty, empty)) == 0
    assert np.isnan(share_positive(measure_cells(empty, empty)))
    assert np.isnan(share_positive(measure_cells(*drawn([DARK]))))


def test_the_threshold_chosen_on_controls_calls_a_mixed_field_right():
    positive, negative = ([measure_cells(*drawn([kind]))] for kind in (POSITIVE, NEGATIVE))
    threshold = choose_threshold(positive, negative)
    assert 26 / 61 < threshold < 91 / 21
    assert share_positive(measure_cells(*drawn([NEGATIVE, POSITIVE, NEGATIVE, NEGATIVE, NEGATIVE])), threshold) == 0.2


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_chosen_one(seed):
    rng = np.random.default_rng(seed)
    up, down = np.round(rng.lognormal(1, 0.6, 30), 1), np.round(rng.lognormal(0, 0.6, 70), 1)
    chosen = choose_threshold([ratios(up[:10]), ratios(up[10:])], [ratios(down)])
    truth, seen = np.repeat([True, False], [30, 70]), np.r_[up, down]
    best = max(balanced_accuracy(truth, seen > limit) for limit in np.arange(0, 20, 0.05))
    assert balanced_accuracy(truth, seen > chosen) == pytest.approx(best)


def test_cells_too_dim_to_be_called_do_not_move_the_threshold():
    up, down = [3.0, 4.0, 5.0], [0.5, 1.0, 2.0]
    assert choose_threshold([ratios(up)], [ratios(down)]) == 2.5
    dim = ratios([*up, 1.5, 1.5, 1.5, 1.5], [True] * 3 + [False] * 4)
    assert choose_threshold([dim], [ratios(down)]) == 2.5


def test_of_thresholds_that_do_equally_well_the_one_in_the_middle_is_chosen():
    # 1.5, 3.5 and 7.5 each call two thirds of the cells right, balanced; what lies between them calls fewer.
    assert choose_threshold([ratios([2.0, 4.0, 10.0])], [ratios([1.0, 3.0, 5.0])]) == 3.5


def test_controls_that_show_nothing_are_refused():
    some = [ratios([1.0, 2.0])]
    for positive, negative, name in ((some, [ratios([1.0], [False])], "negative"), ([], some, "positive")):
        with pytest.raises(BagscopeError, match=f"no cell of the {name} control"):
            choose_threshold(positive, negative)
    with pytest.raises(BagscopeError, match="all 3 cells of the controls have the ratio 1"):
        choose_threshold([ratios([1.0])], [ratios([1.0, 1.0])])


def test_the_room_is_named_at_no_cost_and_works_without_torch():
    code = (
        "import sys, bagscope.classical; heavy = {'numpy', 'scipy', 'skimage', 'torch'};"
        "first = heavy & set(sys.modules); import bagscope.classical.translocation;"
        "sys.exit(str(first or 'torch' in sys.modules or ''))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == ""


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="BAGSCOPE_DATA names no folder with bbbc013")
def test_real_controls_and_doses_stand_as_published():
    screen = import_screen("bbbc013", DATA)
    wells = {well: at for at, well in enumerate(screen.rows["well"])}
    tables = {}
    for well in ("A01", "F02", "C12", "E01", "B03", "C08", "F04", "H09"):
        protein, dna = (open_image(path)[0] for path in screen.files(wells[well]))
        tables[well] = measure_cells(dna, protein)
    # All 96 wells of the published reference: 18,563 nuclei of 165 pixels, 12 % without protein.
    assert np.median(np.concatenate([table.area for table in tables.values()])) == pytest.approx(165, abs=12)
    assert all(90 < len(table) < 500 for table in tables.values())
    assert np.mean(np.concatenate([table.gated for table in tables.values()])) == pytest.approx(0.88, abs=0.06)
    share = {well: share_positive(table) for well, table in tables.items()}
    # Negative controls, the lowest dose and one below the EC50; positive controls and two high doses.
    assert max(share[well] for well in ("A01", "F02", "B03", "F04")) < 0.12
    assert min(share[well] for well in ("C12", "E01", "C08", "H09")) > 0.93
    threshold = choose_threshold([tables["C12"], tables["E01"]], [tables["A01"], tables["F02"]])
    assert 1.4 < threshold < 3.3  # flat from 1.6 to 3 on many wells
