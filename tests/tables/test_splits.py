"""Is a group never cut, and does every class stand on both sides?"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.errors import SettingsError
from bagscope.tables.levels import wells_of
from bagscope.tables.splits import assign_parts, bags_of_rows, folds, groups_of, split_by_group, split_problems


def rows_of(*records, columns=("plate", "well", "label", "group", "split")):
    frame = pd.DataFrame(records, columns=list(columns))
    for name in ("group", "split", "label"):
        if name not in frame:
            frame[name] = ""
    frame.insert(0, "row", np.arange(2, len(frame) + 2))
    return frame


def wells(per_class, fields=2, classes="xy"):
    """Give a table of wells with one class each."""
    return rows_of(
        *(
            ("P1", f"{name.upper()}{well:02d}", name, "", "")
            for name in classes
            for well in range(1, per_class + 1)
            for _ in range(fields)
        )
    )


def sides(parts, groups):
    return {group: {part for part, g in zip(parts, groups, strict=True) if g == group} for group in groups}


def test_rows_of_a_well_are_a_group_and_rows_without_a_well_are_their_own():
    rows = rows_of(("P1", "A01", "x"), ("P1", "A01", "x"), ("P2", "A01", "x"), ("P1", "-", "x"), ("P1", "-", "x"),
                   columns=("plate", "well", "label"))  # fmt: skip
    groups = groups_of(rows)
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4


def test_what_a_well_or_a_group_or_a_column_joins_is_one_group():
    rows = rows_of(
        ("P1", "A01", "x", "ann", ""),
        ("P1", "A02", "x", "ann", ""),  # joined with the first by its donor
        ("P1", "A02", "x", "", ""),  # by its well
        ("P2", "A02", "x", "bob", ""),
        ("P2", "A03", "x", "", ""),
    )
    groups = groups_of(rows)
    assert groups[0] == groups[1] == groups[2] == "ann"
    assert len({groups[0], groups[3], groups[4]}) == 3
    by_plate = groups_of(rows, "plate")
    assert by_plate[3] == by_plate[4] != by_plate[0]


@pytest.mark.parametrize("by", ["donor", "group"])
def test_splitting_by_a_column_that_is_not_there_or_empty_is_refused(by):
    with pytest.raises(SettingsError, match=by):
        groups_of(wells(2), by)


tables = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z", "x;y", "none", ""]), st.integers(0, 12)), min_size=1, max_size=60
)


@given(tables, st.floats(0.05, 0.9), st.integers(0, 3))
def test_a_split_cuts_no_group_and_leaves_every_class_three_groups_to_train_on(table, share, seed):
    labels, groups = [label for label, _ in table], [f"g{group}" for _, group in table]
    parts = split_by_group(labels, groups, share, seed)
    assert all(len(found) == 1 for found in sides(parts, groups).values())
    if "validation" in parts:
        for name in {part for label in labels for part in label.split(";") if part}:
            held = {
                group: part
                for label, group, part in zip(labels, groups, parts, strict=True)
                if name in label.split(";")
            }
            assert list(held.values()).count("train") >= 3
            assert "validation" in held.values()


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_part(table, random):
    shuffled = random.sample(table, len(table))
    found = []
    for one in (table, shuffled):
        labels, groups = [label for label, _ in one], [f"g{group}" for _, group in one]
        found.append(dict(zip(groups, split_by_group(labels, groups, 0.3, 1), strict=True)))
    assert found[0] == found[1]


def test_the_share_and_the_seed_are_respected():
    rows = wells(20)
    groups = groups_of(rows)
    parts = split_by_group(rows["label"], groups, 0.2, 0)
    held_out = {group for group, found in sides(parts, groups).items() if found == {"validation"}}
    assert len(held_out) == 8
    assert sum(group.startswith("P1/X") for group in held_out) == 4
    other = split_by_group(rows["label"], groups, 0.2, 1)
    assert (parts != other).any()
    # Stored once: the split of a seed must stay the same on every platform and in every release.
    assert sorted(held_out)[:4] == ["P1/X03", "P1/X05", "P1/X07", "P1/X20"]


def test_without_enough_groups_all_rows_train_and_it_is_said():
    few = assign_parts(wells(3))
    assert set(few.parts) == {"train"}
    assert "No validation part" in few.notes[0]
    enough = assign_parts(wells(4))
    assert set(enough.parts) == {"train", "validation"}
    assert enough.notes == ("0 groups shared (6 train / 2 validation).",)


@given(st.integers(2, 5), st.integers(0, 3))
def test_folds_cut_no_group_and_spread_every_class(k, seed):
    rows = wells(7, classes="xyz")
    groups = groups_of(rows)
    found = folds(rows["label"], groups, k, seed)
    assert all(len(side) == 1 for side in sides(found, groups).values())
    for name in "xyz":
        sizes = np.bincount(found[rows["label"] == name], minlength=k) / 2
        assert sizes.max() - sizes.min() <= 1
    total = np.bincount(found, minlength=k) / 2
    assert total.max() - total.min() <= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_class_is_spread_over_folds_although_some_of_its_groups_have_another_class_too(seed):
    labels, groups = ["a", "a", "a;b", "b", "b", "b"], [f"g{at}" for at in range(6)]
    numbers = folds(labels, groups, 2, seed)
    for name in "ab":
        counts = np.bincount([number for label, number in zip(labels, numbers, strict=True) if name in label])
        assert np.ptp(counts) <= 1


def test_groups_without_a_label_are_in_no_fold():
    found = folds(["x", "x", "y", "y", "", ""], ["a", "b", "c", "d", "a", "e"], 2, 0)
    assert found[5] == -1
    assert found[4] == found[0] >= 0
    assert (found[:5] >= 0).all()


@pytest.mark.parametrize(
    ("labels", "k"), [(["x", "x", "y", "y"], 1), (["x", "x", "y", "y"], 5), (["x", "x", "x", "y"], 2)]
)
def test_folds_that_cannot_be_are_refused(labels, k):
    with pytest.raises(SettingsError):
        folds(labels, ["a", "b", "c", "d"], k, 0)


def test_the_users_split_is_respected():
    rows = wells(4)
    rows["split"] = np.where(rows["well"].str.endswith("01"), "test", "train")
    rows.loc[rows["well"].str.endswith("02"), "split"] = "validation"
    parts = assign_parts(rows).parts
    assert (parts == rows["split"]).all()
    rows.loc[0, "label"] = ""
    assert assign_parts(rows).parts[0] == ""


def test_a_users_split_without_validation_gives_training_groups_only():
    rows = wells(8)
    rows["split"] = np.where(rows["well"].str.endswith(("07", "08")), "test", "train")
    parts = assign_parts(rows).parts
    assert ((parts == "test") == (rows["split"] == "test")).all()
    assert "validation" in parts


def codes(rows, by=""):
    return [problem.code for problem in split_problems(rows, by)]


def test_a_well_or_donor_on_two_sides_is_refused_with_its_name():
    rows = wells(3)
    rows["split"] = "train"
    assert codes(rows) == []
    rows.loc[1, "split"] = "test"
    (problem,) = split_problems(rows)
    assert (problem.code, problem.severity) == ("group_cut", "refuse")
    assert "1 group(s)" in problem.cause
    assert "P1/X01" in problem.cause
    rows["split"] = np.where(rows["label"] == "x", "train", "test")
    rows["group"] = "p23"
    assert "group_cut" in codes(rows)


def test_a_part_missing_for_a_labelled_row_is_refused():
    rows = wells(2)
    rows["split"] = ["train"] * 6 + ["", ""]
    assert codes(rows) == ["split_gap"]
    rows.loc[6:, "label"] = ""
    assert codes(rows) == []


def test_a_training_part_without_a_class_is_said_or_refused():
    rows = wells(2, classes="xyz")
    rows["split"] = np.where(rows["label"] == "z", "test", "train")
    assert codes(rows) == ["class_not_trained"]
    rows["split"] = np.where(rows["label"] == "x", "train", "test")
    assert codes(rows) == ["one_class"]


def test_a_row_without_a_well_is_a_bag_a_group_and_a_well_of_its_own():
    records = [("P1", "-", "1", "0"), ("P1", "-", "1", "1"), ("P1", "-", "1", "1"), ("P1", "A01", "1", "0")]
    frame = rows_of(*records, columns=("plate", "well", "site", "z"))
    assert groups_of(frame).tolist() == ["row 2", "row 3", "row 4", "P1/A01"]
    assert len(set(bags_of_rows(frame, "well"))) == 4
    numbers, wells = wells_of(frame.assign(n_fields=1))
    assert numbers.tolist() == [0, 1, 2, 3]
    assert wells["site"].tolist() == ["1", "1", "1", ""]
    # Patients with one site each and planes of their own are not joined by these.
    named = frame.iloc[:3].assign(group=["a", "b", "a"])
    assert groups_of(named).tolist() == ["a", "b", "a"]
