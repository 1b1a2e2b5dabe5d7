"""Is a model read only when it is whole, ours and fitting, and is nothing of it ever run?"""

import hashlib
import json
import os
import pickle
import struct

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import bagscope as bs
import toys
from bagscope.engine.card_file import load_card
from bagscope.engine.compute import threads
from bagscope.errors import BagscopeError, ImageReadError, ModelError


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a model folder, to be damaged."""
    return toys.copied(trained, tmp_path / "model")


def card_of(folder):
    return json.loads((folder / "model.json").read_text("utf-8"))


def with_card(folder, **changes):
    """Change the card; a name such as scale__factor goes one level down."""
    card = card_of(folder)
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            card[outer][inner] = value
        else:
            card[outer] = value
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def with_weights(folder, payload):
    """Put other weights there, and let the card vouch for them, as somebody would who means harm."""
    (folder / "model.safetensors").write_bytes(payload)
    return with_card(folder, weights_sha256=hashlib.sha256(payload).hexdigest())


def with_tensors(folder, change):
    tensors = load_tensors((folder / "model.safetensors").read_bytes())
    change(tensors)
    return with_weights(folder, save_tensors(tensors))


def refused(folder, match=None):
    with pytest.raises(ModelError, match=match) as caught:
        bs.load(folder, device="cpu")
    assert caught.value.exit_code == 2
    assert str(folder) in str(caught.value)
    assert caught.value.problem.fix
    return str(caught.value)


def header(text, data=b""):
    body = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(body)) + body + data


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("EVIL_PICKLE_RAN",))


def test_a_model_survives_being_copied(model, trained):
    card, copy = bs.load(trained, device="cpu"), bs.load(model, device="cpu")
    assert card.card == copy.card
    assert all(torch.equal(a, b) for a, b in zip(card.network.parameters(), copy.network.parameters(), strict=True))
    assert not copy.network.training


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.ckpt", "model.bagscope", "resume.pt"])
def test_a_pickle_in_disguise_is_refused_by_its_first_bytes_and_never_run(name, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "saved"
    torch.save({"w": Evil()}, archive)
    for payload in (pickle.dumps(Evil()), archive.read_bytes()):
        if name == "model.safetensors":
            refused(with_weights(model, payload), "a zip or pickle, not a bagscope model")
        else:
            (tmp_path / name).write_bytes(payload)
            refused(tmp_path / name, "a zip or pickle, not a bagscope model")
    assert not (tmp_path / "EVIL_PICKLE_RAN").exists()


# A header's length is a multiple of 8: one in 32 begins with 0x80, as a pickle does, one in 8192 with "PK", as a zip.
@pytest.mark.parametrize("low_bytes", [*range(0, 256, 8), int.from_bytes(b"PK", "little")])
def test_weights_load_whatever_bytes_the_length_of_their_header_begins_with(low_bytes, model, trained):
    weights = (model / "model.safetensors").read_bytes()
    stored = struct.unpack("<Q", weights[:8])[0]
    text, data = weights[8 : 8 + stored], weights[8 + stored :]
    modulus = 256 if low_bytes < 256 else 65536
    length = stored + (low_bytes - stored) % modulus
    loaded, expected = bs.load(with_weights(model, header(text.ljust(length), data))), bs.load(trained)
    for name, weights in expected.network.state_dict().items():
        assert torch.equal(weights, loaded.network.state_dict()[name])


def test_a_pickle_with_a_brace_where_a_header_would_begin_is_refused_as_a_pickle(model):
    refused(with_weights(model, b"\x80\x02" + b"N" * 6 + b"{" + b"N" * 100 + b"."), "a zip or pickle")


def test_what_is_no_model_folder_is_told_apart(model, tmp_path):
    refused(tmp_path / "gone", "no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"no model\.json there.*unfinished training: add --resume")
    refused(model / "README.md", "a file, not a model folder")
    (model / "model.safetensors").unlink()
    refused(model, "the weights are missing")


LIES = {
    "a header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}" + bytes(100),
    "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "a tensor of 4 TB": header({"x": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}),
    "a shape that is not its bytes": header({"x": {"dtype": "F32", "shape": [7], "data_offsets": [0, 8]}}, bytes(8)),
    "bytes that overlap": header(
        {k: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in ("x", "y")}, bytes(8)
    ),
    "a gap": header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}, bytes(12)),
    "an unknown dtype": header({"x": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "more than was told": header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(1000)),
    "no JSON": header(b"{nonsense}"),
    "no UTF-8": header(b"\xff\xfe"),
    "a list": header([]),
    "nothing": b"",
    "seven bytes": bytes(7),
}


@pytest.mark.parametrize("name", LIES)
def test_weights_that_lie_are_refused_before_memory_is_taken(name, model):
    refused(with_weights(model, LIES[name]), "no safetensors file")


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.99])
def test_weights_that_were_cut_are_refused(share, model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(model, r"no safetensors file|damaged \(hash\)")


@pytest.mark.parametrize("place", [0.01, 0.5, 0.999])
def test_one_flipped_bit_is_seen(place, model):
    content = bytearray((model / "model.safetensors").read_bytes())
    content[int(place * len(content))] ^= 4
    (model / "model.safetensors").write_bytes(content)
    refused(model, r"damaged \(hash\)")


def rename(tensors):
    tensors["body.classifier.wait"] = tensors.pop("body.classifier.weight")


def drop(tensors):
    del tensors["head.bias"]


def add(tensors):
    tensors["body.extra"] = torch.zeros(3)


def halve(tensors):
    tensors["head.bias"] = tensors["head.bias"].half()


MISFITS = {
    "body.classifier.wait": rename,
    "head.bias": drop,
    "body.extra": add,
    "weights do not fit the card: head.bias": halve,
}


@pytest.mark.parametrize("said", MISFITS)
def test_tensors_that_do_not_fit_the_card_are_named(said, model):
    assert said in refused(with_tensors(model, MISFITS[said]), "weights do not fit the card")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, model):
    def spoil(tensors):
        tensors["head.weight"][0, 0] = value

    refused(with_tensors(model, spoil), r"weights that are no numbers: head\.weight")


def test_classes_that_do_not_fit_the_weights_are_refused(model):
    refused(with_card(model, classes=["filled", "ring", "bar"], thresholds=[0.1] * 3), "weights do not fit the card")
    refused(with_card(model, classes=["filled", "ring"], thresholds=[0.1] * 2, none_trained=False), "head")


def test_a_newer_format_is_told_with_its_maker(model):
    card = card_of(model)["created"] | {"bagscope": "9.1"}
    said = refused(with_card(model, format_version=99, created=card), r"made by bagscope 9\.1 \(format 99\)")
    assert "Update bagscope" in said
    for created in ([], None, {"bagscope": ["x"]}):
        refused(with_card(model, created=created), "format 99")


@pytest.mark.parametrize("version", ["1", 1.0, None, 0, -1, True, [1]])
def test_a_format_that_is_no_number_is_no_card(version, model):
    refused(with_card(model, format_version=version), "format_version")


BROKEN = {
    "an unknown key": {"extra": 1},
    "an unknown key below": {"scale__extra": 1},
    "a text for a number": {"scale__factor": "big"},
    "a factor of nothing": {"scale__factor": 0},
    "a huge factor": {"scale__factor": 1e9},
    "no class": {"classes": []},
    "a class twice": {"classes": ["ring", "ring"]},
    "a spread of nothing": {"intensity__spread": [0, 1]},
    "one spread for two channels": {"intensity__spread": [1]},
    "three levels for two channels": {"intensity__dark": [1, 2, 3]},
    "the looks of one channel for two": {"likeness": {"low": [[0] * 7], "high": [[1] * 7]}},
    "looks of too few numbers": {"likeness": {"low": [[0], [0]], "high": [[1] * 7] * 2}},
    "one threshold for two classes": {"thresholds": [0.1]},
    "a threshold above one": {"calls__threshold": 1.5},
    "an unknown task": {"task": "imagez"},
    "an unknown network": {"network__name": "os:system"},
    "an unknown network option": {"network__command": "rm"},
    "a text for an option": {"network__bias": "low"},
    "too much dropout": {"network__dropout_pool": 7},
    "an unknown pooling": {"pooling__name": "nosy_and"},
    "an unknown pooling option": {"pooling__c": 1},
    "a steepness of nothing": {"pooling__a": 0},
    "another grid": {"grid__jump": 16},
    "no grid": {"grid": {}},
    "a list": {"network": []},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_card_that_was_changed_is_refused(name, model):
    refused(with_card(model, **BROKEN[name]))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"format_version": 1}', "[" * 100_000])
def test_what_is_no_card_is_refused(text, model):
    (model / "model.json").write_text(text)
    refused(model)


def test_a_card_with_numbers_that_json_has_not_is_refused(model):
    text = (model / "model.json").read_text().replace('"factor": 1', '"factor": NaN')
    (model / "model.json").write_text(text)
    refused(model, "NaN is no number")


def test_a_card_beyond_all_measure_is_refused_unread(model):
    with (model / "model.json").open("ab") as stream:
        stream.truncate(200_000_002)
    refused(model, "bytes, 200,000,000 are allowed")


def test_loading_leaves_chance_alone(model):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    bs.load(model, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_of_another_device_is_loaded_where_it_is_wanted(model):
    with_card(model, created=card_of(model)["created"] | {"device": "cuda:1"})
    loaded = bs.load(model, device="cpu")
    assert {parameter.device.type for parameter in loaded.network.parameters()} == {"cpu"}
    with pytest.raises(BagscopeError, match="no device cuda:99"):
        bs.load(model, device="cuda:99")
    with pytest.raises(BagscopeError, match=r"compute\.device = 'tpu'"):
        bs.load(model, device="tpu")


def test_the_card_for_people_tells_what_the_model_is(trained):
    text = (trained / "README.md").read_text("utf-8")
    for part in (
        "filled, ring",
        "dna, gfp",
        "network: kraus",
        "pooling: noisy_and",
        "0.65 um",
        "seed 0",
        "not for",
        "bagscope score",
    ):
        assert part in text
    assert text.startswith("---\n")
    assert load_card(trained).weights_sha256 == hashlib.sha256(toys.weights(trained)).hexdigest()


# What a model says of arrays -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(trained):
    return bs.load(trained, device="cpu")


def array(dtype="uint16", shape=(2, 95, 130)):
    return np.random.default_rng(0).integers(90, 250, shape).astype(dtype)


def test_a_prediction_is_what_scoring_a_file_gives(loaded, toy, tmp_path):
    row = loaded.score(toy, tmp_path / "scores", threads=1).images.iloc[0]
    with threads(1):
        told = loaded.predict(tifffile.imread(toy.parent / row["image"]))
    for name in ("filled", "ring"):
        assert told.mil_probability[name] == row[f"mil_probability:{name}"]
        assert told.probability[name] == row[f"probability:{name}"]
    assert told.probability["none"] == row["probability:none"]
    assert (told.call, told.confidence) == (row["call"], row["confidence"])


def test_class_maps_lie_on_the_image(loaded):
    told = loaded.predict(array(shape=(2, 95, 130)))
    assert told.classes == ("filled", "ring")
    assert told.class_maps.shape == (2, 2, 3)
    assert (told.y.tolist(), told.x.tolist()) == ([31, 63], [31, 63, 95])
    assert ((told.class_maps >= 0) & (told.class_maps <= 1)).all()


@pytest.mark.parametrize(
    "dtype", ["uint8", ">u2", "int16", "int32", "uint32", ">f4", "float64", "float16", "longdouble"]
)
def test_any_type_of_number_says_the_same(dtype, loaded):
    told = loaded.predict(array(dtype))
    assert told.mil_probability == pytest.approx(loaded.predict(array()).mil_probability, rel=1e-6)


def test_views_of_any_layout_say_the_same(loaded):
    plain = loaded.predict(np.ascontiguousarray(array()[::-1, ::-1])).mil_probability
    assert loaded.predict(array()[::-1, ::-1]).mil_probability == plain
    assert loaded.predict(np.asfortranarray(array()[::-1, ::-1])).mil_probability == plain
    assert loaded.predict(array()[::-1, ::-1].tolist()).mil_probability == pytest.approx(plain)


def test_extreme_pixels_have_finite_maps(loaded):
    for value in (0, 65535, -1e6, 1e9):
        told = loaded.predict(np.full((2, 80, 80), value, np.float32))
        assert np.isfinite(told.class_maps).all()
        assert 0 <= told.confidence <= 1


def test_maps_that_are_sure_of_nothing_are_zero_without_an_overflow(model):
    sure = bs.load(model, device="cpu")
    with torch.no_grad():
        sure.network.body.classifier.bias.fill_(-95)  # its exponential is beyond float32
    told = sure.predict(array())
    assert (told.class_maps < 1e-30).all()
    assert told.call == "none"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (array(shape=(95, 130)), r"shape \(95, 130\)"),
        (array(shape=(3, 95, 130)), "dna, gfp"),
        (array(shape=(2, 62, 130)), "62 pixels along an axis, the network needs at least 63"),
        (array(shape=(2, 0, 0)), "pixels along an axis"),
        (np.full((2, 70, 70), np.nan, np.float32), "NaN"),
        (np.full((2, 70, 70), np.inf), "infinite"),
        (array().astype(complex), "complex128"),
        (array().astype(str), "grey values are expected"),
        (array().astype(object), "grey values are expected"),
    ],
)
def test_arrays_that_are_no_images_are_refused(wrong, said, loaded):
    with pytest.raises(ImageReadError, match=said):
        loaded.predict(wrong)
