"""Does a filled form become the table of its shares, however people type, and is what cannot be read named?"""

import json

import numpy as np
import pytest
from proportions_drawn import filled, run, screen_of, share_of, written
from scipy import stats

import toys
from bagscope.ops.intervals import spread, student
from bagscope.tables.proportions import read_proportions


def form_of(folder, shares, fine=("rest", "tissue"), delimiter=",", name="form.csv"):
    """Write a form; `shares` are (coarse, cells of the fine classes as typed)."""
    rows = [
        {
            "block": at + 1,
            "image": "i.tif",
            "x": 16 * at,
            "y": 0,
            "size": 16,
            "coarse": coarse,
            **dict(zip(fine, cells, strict=True)),
        }
        for at, (coarse, cells) in enumerate(shares)
    ]
    return written(folder / name, rows, delimiter)


def typed(values, coarse="a", how=str):
    return [(coarse, ("", how(value))) for value in values]


LOW, HIGH = [0, 0.1, 0.2, 0.05, 0.3, 0.15, 0.1, 0.2, 0.1, 0.25], [0.7, 0.8, 1, 0.9, 0.85, 0.75, 0.75, 0.8, 0.9, 0.95]


def table_of(folder, shares, name="p.csv", **how):
    form_of(folder, shares, **how)
    code, out, said = run(folder, "read", "form.csv", "-o", name)
    assert code == 0, said
    return read_proportions(folder / name), out, said


def refused(folder, shares, **how):
    form_of(folder, shares, **how)
    code, out, said = run(folder, "read", "form.csv", "-o", "p.csv")
    assert (code, out) == (2, "")
    assert "Traceback" not in said
    assert not (folder / "p.csv").exists()
    return said


# What a form says ------------------------------------------------------------------------------------------


def test_the_table_holds_mean_sd_and_number_of_each_class(tmp_path):
    found, _, _ = table_of(tmp_path, typed(LOW) + typed(HIGH, "b"))
    assert (found.coarse, found.fine) == (("a", "b"), ("rest", "tissue"))
    for k, values in enumerate((LOW, HIGH)):
        assert found.mean[k].tolist() == pytest.approx([1 - np.mean(values), np.mean(values)])
        assert found.sd[k].tolist() == pytest.approx([np.std(values, ddof=1)] * 2)
        assert found.n[k].tolist() == [10, 10]


@pytest.mark.parametrize(
    ("how", "delimiter"),
    [
        (lambda share: f"{100 * share:g}", ","),
        (lambda share: f"{100 * share:g} %", ","),
        (lambda share: f"{100 * share:g}\u00a0%", ";"),
        (lambda share: f"{share:g}".replace(".", ","), ";"),
        (lambda share: f"{100 * share:.1f}".replace(".", ","), "\t"),
        (lambda share: f" {share:.3f} ", ","),
    ],
    ids=["per cent", "sign", "hard space", "comma", "comma per cent", "shares"],
)
def test_all_ways_to_type_a_share_say_the_same(how, delimiter, tmp_path):
    found, _, _ = table_of(tmp_path, typed(LOW, how=how) + typed(HIGH, "b", how), delimiter=delimiter)
    assert found.mean[:, 1].tolist() == pytest.approx([np.mean(LOW), np.mean(HIGH)])


def test_the_one_empty_cell_of_a_row_is_what_is_left(tmp_path):
    fine = ("rest", "a", "b")
    rows = [("x", ("", "20", "30")), ("x", ("50", "", "30")), ("x", ("50", "20", "")), ("x", ("50", "20", "30"))]
    found, _, _ = table_of(tmp_path, rows, fine=fine)
    assert found.mean.tolist() == [pytest.approx([0.5, 0.2, 0.3])]
    assert found.sd.tolist() == [[0.02] * 3]


def test_empty_rows_and_rows_of_zeros_are_left_out_and_counted(tmp_path):
    rows = [*typed(LOW), ("a", ("", "")), ("a", (" ", "")), ("a", ("0", "0"))]
    found, _, said = table_of(tmp_path, rows)
    assert found.n[0, 0] == 10
    assert "10 blocks are filled in, 3 are empty and left out" in said


def test_shares_that_are_rounded_add_up(tmp_path):
    found, _, _ = table_of(tmp_path, [("a", ("33.3", "33.3", "33.3"))] * 3, fine=("p", "q", "r"))
    assert found.mean.tolist() == [pytest.approx([1 / 3] * 3, abs=1e-9)]
    # Reading a table makes its means add up, too: what was written is looked at.
    assert sum(float(row["mean"]) for row in toys.table_of(tmp_path / "p.csv")) == pytest.approx(1, abs=1e-9)


def test_spreads_are_kept_between_what_a_table_may_say(tmp_path):
    found, _, said = table_of(tmp_path, typed([0.5] * 3) + typed([0, 1], "b"))
    assert found.sd.tolist() == [[0.02, 0.02], [0.5, 0.5]]
    assert "an sd below 0.02 is set to it: a/rest, a/tissue" in said
    assert "an sd above 0.5 is set to it: b/rest, b/tissue" in said


def test_classes_stand_in_the_order_of_their_numbers(tmp_path):
    rows = [row for name in ("90-95", "5-20", "20-30") for row in typed(LOW, name)]
    assert table_of(tmp_path, rows)[0].coarse == ("5-20", "20-30", "90-95")


def test_a_form_filled_in_with_the_truth_gives_the_truth(tmp_path):
    screen_of(tmp_path)
    words = ("sample", "screen.csv", "-o", "sheet", "--fine", "rest,tissue", "--per-class", 18)
    assert run(tmp_path, *words)[0] == 0
    filled(tmp_path / "sheet" / "form.csv")
    assert run(tmp_path, "read", "sheet/form.csv", "-o", "p.csv")[0] == 0
    found = read_proportions(tmp_path / "p.csv")
    for k in range(6):
        truth = [share_of(image, k, column) for image in range(3) for column in range(6)]
        assert found.mean[k, 1] == pytest.approx(np.mean(truth))
        assert found.sd[k, 1] == pytest.approx(np.std(truth, ddof=1))


# How sure it is --------------------------------------------------------------------------------------------


def test_intervals_are_those_of_students_t_and_of_chi_squared():
    values = np.array(LOW)
    mean, sd, n = values.mean(), values.std(ddof=1), len(values)
    found = student(mean, sd, n)
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    found = spread(sd, n, 0.9)
    ends = np.sqrt((n - 1) * sd**2 / stats.chi2.ppf([0.95, 0.05], n - 1))
    assert (found.low, found.high) == pytest.approx(tuple(ends))


def test_intervals_hold_what_they_promise():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, (4000, 12))
    mean, sd = values.mean(1), values.std(1, ddof=1)
    of_mean, of_sd = student(mean, sd, np.full(4000, 12)), spread(sd, np.full(4000, 12))
    # 0.95 +- 4 standard errors of 4000 trials.
    assert np.mean((of_mean.low <= 0.5) & (of_mean.high >= 0.5)) == pytest.approx(0.95, abs=0.014)
    assert np.mean((of_sd.low <= 0.1) & (of_sd.high >= 0.1)) == pytest.approx(0.95, abs=0.014)


def test_what_is_printed_is_what_programs_get(tmp_path):
    form_of(tmp_path, typed(LOW) + typed(HIGH, "b"))
    code, out, _ = run(tmp_path, "read", "form.csv", "-o", "p.csv", "--json")
    assert code == 0
    told = json.loads(out.splitlines()[-1])
    one = told["classes"]["a"]["tissue"]
    assert one["mean"] == pytest.approx(np.mean(LOW))
    assert one["mean_low"] < one["mean"] < one["mean_high"]
    assert one["sd_low"] < one["sd"] < one["sd_high"]
    line = next(line for line in out.splitlines() if line.startswith("a tissue"))
    assert f"{one['mean']:.3f} ({one['mean_low']:.3f} to {one['mean_high']:.3f})" in line
    assert (told["blocks"], told["empty"], told["more"]) == (20, 0, {})
    assert told["explained"]["tissue"] > 0.7


def test_the_interval_of_a_mean_stays_within_what_a_share_can_be(tmp_path):
    form_of(tmp_path, typed([0, 0, 0, 0.2]) + typed([1, 1, 1, 0.8], "b"))
    summary = json.loads(run(tmp_path, "read", "form.csv", "-o", "p.csv", "--json")[1].splitlines()[-1])
    assert summary["classes"]["a"]["tissue"]["mean_low"] == 0
    assert summary["classes"]["b"]["tissue"]["mean_high"] == 1


# Where more is needed --------------------------------------------------------------------------------------


def test_classes_with_few_blocks_or_a_vague_mean_need_more(tmp_path):
    vague = [0, 1, 0.2, 0.8, 0.5, 0.1, 0.9, 0.4, 0.6, 0.3, 0.7]
    rows = typed(LOW) + typed(HIGH[:9], "few") + typed(vague, "vague") + typed([0.5], "one") + typed([""], "none")
    form_of(tmp_path, rows)
    code, out, said = run(tmp_path, "read", "form.csv", "-o", "p.csv", "--json")
    assert code == 0
    more = json.loads(out.splitlines()[-1])["more"]
    assert set(more) == {"few", "vague", "one", "none"}
    assert "9 blocks are fewer than 10" in more["few"]["why"]
    assert "its mean is known within" in more["vague"]["why"]
    sd, n = np.std(vague, ddof=1), more["vague"]["blocks"]
    assert 2 * stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n) == pytest.approx(0.15, abs=0.01)
    assert f"--per-class {n} --coarse few,none,one,vague --more form.csv" in said
    assert "'none', 'one' has fewer than two filled blocks and is left out" in said
    assert read_proportions(tmp_path / "p.csv").coarse == ("a", "few", "vague")


def test_a_table_that_explains_little_is_warned_of(tmp_path):
    _, _, said = table_of(tmp_path, typed([0, 1] * 6) + typed([0, 1, 1] * 4, "b"))
    assert "the coarse classes explain little" in said
    assert "the coarse classes explain little" not in table_of(tmp_path, typed(LOW) + typed(HIGH, "b"))[2]


# What is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("60", "30"), "block 21: its shares add up to 0.9"),
        (("60", "60"), "block 21: its shares add up to 1.2"),
        (("", "120"), "block 21: '120' is no share"),
        (("", "-10"), "block 21: '-10' is no share"),
        (("", "nan"), "block 21: 'nan' is no share"),
        (("", "most"), "block 21: 'most' is no share"),
        (("", "0.5"), "1 cells between 0 and 1 (line 22)"),
        (("", "1.5.2"), "block 21: '1.5.2' is no share"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(cells, told, tmp_path):
    rows = typed(LOW, how=lambda share: f"{100 * share:g}") + typed(HIGH, "b", lambda share: f"{100 * share:g}")
    said = refused(tmp_path, [*rows, ("b", cells)])
    assert told in said
    assert "22" in said


def test_all_wrong_rows_are_told_at_once(tmp_path):
    said = refused(tmp_path, [("a", ("10", "80")), ("a", ("", "x")), ("a", ("", "50")), ("a", ("70", "70"))])
    assert [f"row {line}" in said for line in (2, 3, 4, 5)] == [True, True, False, True]


def test_a_row_that_is_half_filled_is_named(tmp_path):
    said = refused(tmp_path, [("a", ("", "", "50")), ("a", ("", "20", "50"))], fine=("p", "q", "r"))
    assert "row 2: block 1: 2 of 3 shares are missing" in said


def test_one_among_per_cents_is_said_to_be_one_per_cent(tmp_path):
    found, _, said = table_of(tmp_path, typed(["1", "3", "20"]))
    assert found.mean[0, 1] == pytest.approx(0.08)
    assert "1 is read as 1 per cent (line 2)" in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [row | {"x": "left"} for row in rows], "x = 'left'"),
        (lambda rows: [row | {"block": "1"} for row in rows], "block 1 stands in line 2 already"),
        (lambda rows: [row | {"coarse": ""} for row in rows], "coarse = ''"),
        (lambda rows: [{k: v for k, v in row.items() if k != "size"} for row in rows], "columns block, image, x, y"),
        (lambda rows: [{k: v for k, v in row.items() if k != "rest"} for row in rows], "at least two"),
        (lambda rows: [row | {"tissue": ""} for row in rows], "0 of 3 rows are filled"),
    ],
)
def test_a_form_that_is_none_is_refused(change, told, tmp_path):
    toys.rewrite(form_of(tmp_path, typed(["10", "20", "30"])), change)
    code, _, said = run(tmp_path, "read", "form.csv", "-o", "p.csv")
    assert code == 2
    assert told in said
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("words", [("gone.csv", "-o", "p.csv"), (".", "-o", "p.csv"), ("form.csv",)])
def test_wrong_use_ends_with_2(words, tmp_path):
    form_of(tmp_path, typed(LOW))
    code, _, said = run(tmp_path, "read", *words)
    assert code == 2
    assert "of bagscope itself" not in said


def test_a_file_that_is_no_table_of_shares_is_not_replaced(tmp_path):
    before = form_of(tmp_path, typed(LOW)).read_bytes()
    code, _, said = run(tmp_path, "read", "form.csv", "-o", "form.csv")
    assert code == 4
    assert "no table of shares" in said
    assert (tmp_path / "form.csv").read_bytes() == before
    for _ in range(2):  # its own table is
        assert run(tmp_path, "read", "form.csv", "-o", "p.csv")[0] == 0


# Help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sample", "read"])
def test_help_shows_the_common_options_and_an_example_that_works(verb, tmp_path):
    screen_of(tmp_path)
    code, out, _ = run(tmp_path, verb, "--help")
    assert code == 0
    assert all(option in out for option in ("--quiet", "--json", "--threads", "--device", "--seed", "--debug"))
    assert max(map(len, out.splitlines())) <= 80
    (example,) = [line.split("Example: bagscope proportions ")[1] for line in out.splitlines() if "Example:" in line]
    if verb == "read":
        (tmp_path / "sheet").mkdir()
        form_of(tmp_path / "sheet", typed(LOW))
    assert run(tmp_path, *example.split())[0] == 0
