"""Is it said when the label follows from something that is no picture?"""

import numpy as np
import pandas as pd
import pytest

from bagscope.tables.confounding import of_files, of_table, predictability, problems


def plates(layout):
    """Give rows of wells from (plate, well, label)."""
    return pd.DataFrame(layout, columns=["plate", "well", "label"]).assign(row=np.arange(2, len(layout) + 2))


def units(rows):
    return (rows["plate"] + rows["well"]).tolist()


def test_a_plate_per_class_predicts_the_label_fully():
    square = [f"{row}0{column}" for row in "AB" for column in (1, 2)]
    rows = plates([("P1", well, "x") for well in square] + [("P2", well, "y") for well in square])
    found = {one.name: one for one in of_table(rows, units(rows))}
    assert (found["plate"].accuracy, found["plate"].majority) == (1, 0.5)
    (problem,) = problems(list(found.values()))
    assert problem.severity == "warn"
    assert problem.cause == (
        "plate alone predicts the label: 1.00 (majority 0.50); the result cannot tell class from plate"
    )


def test_plates_with_every_class_predict_nothing():
    rows = plates(
        [(p, f"{r}{c:02d}", "xy"[(ord(r) + c) % 2]) for p in ("P1", "P2") for r in "ABCD" for c in range(1, 5)]
    )
    assert problems(of_table(rows, units(rows))) == []


def test_one_plate_is_not_measured():
    rows = plates([("P1", "A01", "x"), ("P1", "B02", "y")])
    assert "plate" not in {one.name for one in of_table(rows, units(rows))}


@pytest.mark.parametrize(("place", "named"), [("row", "plate row"), ("column", "plate column")])
def test_a_class_per_row_or_column_is_said(place, named):
    along = [(f"{r}{c:02d}", "xy"[(ord(r) if place == "row" else c) % 2]) for r in "ABCD" for c in range(1, 5)]
    rows = plates([("P1", well, label) for well, label in along])
    (problem,) = problems(of_table(rows, units(rows)))
    assert problem.cause.startswith(f"{named} alone predicts the label: 1.00 (majority 0.50)")


def test_a_value_of_its_own_for_every_well_predicts_nothing():
    found = predictability("date", ["x", "x", "y", "y"], list("1234"), list("abcd"))
    # Left out, a well is always in the minority of the rest.
    assert found.accuracy == 0
    assert not found.separates


def test_fields_of_a_well_do_not_vote_for_themselves():
    labels, wells = ["x"] * 10 + ["y"] * 10, ["a"] * 10 + ["b"] * 10
    assert predictability("size", labels, ["1"] * 10 + ["2"] * 10, wells).accuracy == 0


def test_accuracy_counts_wells_by_hand():
    # Value p: x x y -> both x right, y wrong; value q: y y -> right. 4 of 5; majority y: 3 of 5.
    found = predictability("v", ["x", "x", "y", "y", "y"], list("pppqq"), list("abcde"))
    # For each x of p the others are x, y: a tie that counts half.
    assert found.accuracy == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
    assert found.majority == 0.6


@pytest.mark.parametrize("name", ["dtype", "file type"])
def test_a_file_property_that_separates_the_classes_is_refused_unless_forced(name):
    rows = plates([("P1", f"A{c:02d}", "xy"[c % 2]) for c in range(1, 9)])
    values = {name: ["uint8" if label == "x" else "uint16" for label in rows["label"]]}
    found = of_files(rows, units(rows), values)
    (problem,) = problems(found)
    assert problem.severity == "refuse"
    assert "--set table.force=true" in problem.fix
    (problem,) = problems(found, force=True)
    assert problem.severity == "warn"


def test_image_size_that_separates_the_classes_is_only_said():
    rows = plates([("P1", f"A{c:02d}", "xy"[c % 2]) for c in range(1, 9)])
    found = of_files(rows, units(rows), {"image size": [f"1x{label}" for label in rows["label"]]})
    assert [problem.severity for problem in problems(found)] == ["warn"]


def test_rows_without_a_label_and_properties_with_one_value_do_not_count():
    rows = plates([("P1", "A01", "x"), ("P1", "A02", ""), ("P1", "A03", "y"), ("P1", "A04", "y")])
    assert of_files(rows, units(rows), {"dtype": ["uint8"] * 4}) == []
    assert predictability("dtype", rows["label"], list("1222"), units(rows)).majority == pytest.approx(2 / 3)
