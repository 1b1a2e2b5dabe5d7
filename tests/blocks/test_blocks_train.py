"""Does training on blocks give the same weights whenever it is asked, however it was interrupted, by every method?"""

import shutil
import signal

import numpy as np
import pytest
from safetensors.torch import load_file

import bagscope
import toys
from bagscope.engine.events import SILENT
from bagscope.errors import BagscopeError, Interrupted
from dangerous import LIMIT_S, let_drive_fail, let_names_be_dangerous
from tissue import proportions, screen_of, trained

SHORT = {"steps": 4, "training.save_every": 2}


def weights(model):
    return load_file(model.folder / "model.safetensors")


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_the_same_training_gives_the_same_weights_and_another_seed_others(screen, tmp_path):
    first, again = (weights(trained(screen, tmp_path / name, **SHORT)) for name in "ab")
    assert same(first, again)
    assert not same(first, weights(trained(screen, tmp_path / "c", seed=1, **SHORT)))


def test_an_interrupted_training_goes_on_to_equal_weights(screen, tmp_path):
    class Stop(Exception):
        pass

    class Stopping(type(SILENT)):
        def progress(self, what, done, total, *more):
            if what == "training" and done >= 3:
                raise Stop

    whole = weights(trained(screen, tmp_path / "a", **SHORT))
    with pytest.raises(Stop):
        trained(screen, tmp_path / "b", events=Stopping(), **SHORT)
    assert (tmp_path / "b" / "resume").is_dir()
    assert not (tmp_path / "b" / "model.json").exists()
    assert same(whole, weights(trained(screen, tmp_path / "b", resume=True, **SHORT)))
    assert not (tmp_path / "b" / "resume").exists()


class Interrupting(toys.Listener):
    """Asks to stop at a step of a training that has so many."""

    def __init__(self, step, steps):
        super().__init__()
        self.at = (step, steps)

    def progress(self, what, done, total, detail=""):
        super().progress(what, done, total, detail)
        if (done, total) == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("counts", [True, False])
def test_an_interrupted_second_training_goes_on_and_the_first_is_not_repeated(counts, screen, tmp_path):
    # States of every third step: that of the fourth, last step of the first training is saved all the same.
    choices = {"steps": 4, "training.save_every": 3, "second.steps": 6, "second.counts": counts}
    whole = trained(screen, tmp_path / "a", **choices)
    with pytest.raises(Interrupted, match="after step 2 of 6"):
        trained(screen, tmp_path / "b", events=Interrupting(2, 6), **choices)
    listener = toys.Listener()
    resumed = trained(screen, tmp_path / "b", resume=True, events=listener, **choices)
    assert {"going on after step 4 of 4", "going on after step 2 of 6"} <= set(listener.said)
    assert [step for what, *step in listener.steps if what == "training"] == [[step, 6] for step in (3, 4, 5, 6)]
    assert same(weights(resumed), weights(whole))
    histories = [(model.folder / "history.csv").read_text() for model in (whole, resumed)]
    assert histories[0] == histories[1]
    assert len(histories[0].splitlines()) == 1 + 4 + 6
    assert not (tmp_path / "b" / "resume").exists()


@pytest.mark.parametrize(
    "choices",
    [{"blocks.method": method} for method in ("llp", "qr", "hard", "soft")]
    + [{"blocks.grouping": grouping} for grouping in ("intra", "inter", "sampled")]
    + [{"blocks.distance": distance} for distance in ("kl", "w2")]
    + [{"blocks.method": "pixels", "blocks.pixels": "truth"}, {"blocks.pixels": "truth"}, {"view.groups": 1}],
    ids=str,
)
def test_every_way_of_learning_changes_the_network(screen, tmp_path, choices):
    model = trained(screen, tmp_path / "m", **SHORT, **choices)
    history = (model.folder / "history.csv").read_text().splitlines()
    assert len(history) > 1
    assert all(bool(np.isfinite(value).all()) for value in map(np.asarray, weights(model).values()))
    other = trained(screen, tmp_path / "other", **SHORT)
    assert not same(weights(model), weights(other))


def test_training_learns_what_blocks_tell_of_pixels(model, screen):
    import tifffile

    # An image whose blocks the model has not seen.
    found = model.decide(model.predict(tifffile.imread(screen / "i3.tif")[None]))
    assert (found == tifffile.imread(screen / "t3.tif") - 1).mean() > 0.9


def test_a_threshold_of_the_table_is_kept_with_the_model(screen, tmp_path):
    model = trained(screen, tmp_path / "m", **SHORT, **{"maps.threshold": "table"})
    low, high = model.card.limits
    assert low + high == pytest.approx(1)
    assert bagscope.load(model.folder).card.limits == (low, high)


def test_a_weak_table_sets_the_threshold_and_a_good_one_does_not(tmp_path):
    screen_of(tmp_path)
    for sd, is_weak in ((0.3, True), (0.05, False)):
        rows = [
            (c, f, m, sd, 12) for c, s in (("little", 0.1), ("much", 0.7)) for f, m in (("ground", 1 - s), ("spot", s))
        ]
        proportions(tmp_path / "p.csv", rows)
        model = trained(tmp_path, tmp_path / f"m{sd}", **SHORT, **{"maps.threshold": "auto"})
        assert (model.card.limits is not None) == is_weak


def test_training_again_with_other_settings_into_the_same_folder_is_refused(screen, tmp_path):
    trained(screen, tmp_path / "m", **SHORT)
    with pytest.raises(BagscopeError, match="--overwrite"):
        trained(screen, tmp_path / "m", **SHORT)
    with pytest.raises(BagscopeError, match="trained on other rows or files, or with other settings"):
        trained(screen, tmp_path / "m", resume=True, **SHORT, **{"blocks.method": "llp"})


def test_a_row_that_cannot_be_read_is_left_out_and_named(tmp_path):
    screen_of(tmp_path, 3)
    (tmp_path / "i1.tif").write_bytes(b"II*\0broken")
    model = trained(tmp_path, tmp_path / "m", **SHORT)
    told = (model.folder / "failures.csv").read_text()
    assert "i1.tif" in told
    assert len(told.splitlines()) == 2


def test_a_file_that_the_drive_does_not_give_while_it_is_signed_is_left_out_and_named(tmp_path, monkeypatch):
    screen_of(tmp_path, 3)
    let_drive_fail(monkeypatch, "i1.tif")
    model = trained(tmp_path, tmp_path / "m", **SHORT)
    (failed,) = toys.table_of(model.folder / "failures.csv")
    assert (failed["image"], failed["stage"], failed["code"]) == ("i1.tif", "read", "io")
    assert len(model.card.training["rows"]["train"]) == 1


def test_label_images_that_end_the_process_that_decodes_them_cost_their_rows_alone(tmp_path, monkeypatch):
    let_names_be_dangerous(monkeypatch)
    coarse = ["crash.tif", "hang.tif", "b2.csv", "b3.csv"]
    screen_of(tmp_path, 4, split=["train"] * 4, coarse=coarse, truth=["t0.tif", "t1.tif", "crash.tif", "t3.tif"])
    for name in ("crash.tif", "hang.tif"):
        shutil.copy(tmp_path / "t0.tif", tmp_path / name)
    model = trained(tmp_path, tmp_path / "m", **SHORT, **{"blocks.pixels": "truth", "compute.io_timeout": LIMIT_S})
    failed = toys.table_of(model.folder / "failures.csv")
    assert [(row["image"], row["code"]) for row in failed] == [
        ("i0.tif", "crashed"), ("i1.tif", "timeout"), ("i2.tif", "crashed")
    ]  # fmt: skip
    assert all(row["fix"] for row in failed)
    assert len(model.card.training["rows"]["train"]) == 1
