"""Is every well of a plate one name, and nothing else a well?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagscope.tables.wells import COLUMNS, ROWS, normal_well, well_name, well_of, well_place

rows, columns = st.integers(1, ROWS), st.integers(1, COLUMNS)


@given(rows, columns, st.sampled_from(["", " ", "-"]), st.booleans(), st.integers(0, 1))
def test_every_spelling_of_a_well_is_its_one_name(row, column, gap, lower, zeros):
    letters = well_name(row, column)[:-2]
    spelling = (letters.lower() if lower else letters) + gap + "0" * zeros + str(column)
    assert normal_well(spelling) == well_name(row, column)
    assert well_place(spelling) == (row, column)


def test_names_of_a_1536_well_plate_are_all_different():
    names = {well_name(row, column) for row in range(1, ROWS + 1) for column in range(1, COLUMNS + 1)}
    assert len(names) == 1536
    assert {"A01", "Z48", "AA01", "AF48"} <= names


@pytest.mark.parametrize("text", ["1E5", "A0", "A49", "AG1", "", "A", "1", "AAA1", "A1.0", "A٣", "١A"])
def test_what_is_on_no_plate_is_no_well(text):
    assert normal_well(text) is None


@given(rows, columns)
def test_row_and_column_make_the_well_whether_the_row_is_a_letter_or_a_number(row, column):
    name = well_name(row, column)
    assert well_of(str(row), str(column)) == well_of(name[:-2].lower(), f"{column:02d}") == name
