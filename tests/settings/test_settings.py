"""Are choices checked before any work, and is what is wrong with them said by name?"""

import inspect
import math

import pytest
from pydantic import ValidationError

from bagscope.engine.check import Checking
from bagscope.errors import SettingsError
from bagscope.nets.pool import make_pooling
from bagscope.report.findings import IO_TIMEOUT_S
from bagscope.settings.jobs import JOBS, SHORT, ImagesJob, ReadJob, make_job, parse_set
from bagscope.settings.sections import CallsSection, ComputeSection, PoolingSection, Section
from bagscope.tables.calls import CallRule

SECTIONS = {
    f"{task} {name}": field.default
    for task, kind in JOBS.items()
    for name, field in kind.model_fields.items()
    if isinstance(field.default, Section)
}


def chosen(choices=None, text=None, tmp_path=None, kind=ImagesJob):
    config = None
    if text is not None:
        config = tmp_path / "job.toml"
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
    return make_job(kind, config, choices)


def refused(choices=None, text=None, tmp_path=None, kind=ImagesJob):
    with pytest.raises(SettingsError) as error:
        chosen(choices, text, tmp_path, kind)
    assert error.value.problem.fix
    return error.value.problem


def at(job, name):
    for part in name.split("."):
        job = getattr(job, part)
    return job


def test_nothing_chosen_gives_the_defaults():
    assert chosen() == ImagesJob()
    assert chosen({"steps": None, "seed": None}) == ImagesJob()


@pytest.mark.parametrize("kind", [ReadJob, *JOBS.values()])
def test_every_default_is_a_value_that_may_be_chosen(kind):
    # pydantic does not check defaults: this does.
    assert kind.model_validate(kind().model_dump()) == kind()
    assert kind.model_validate_json(kind().model_dump_json()) == kind()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_setting_says_what_it_is(name):
    assert SECTIONS[name].__doc__
    assert all(field.description for field in type(SECTIONS[name]).model_fields.values())


@pytest.mark.parametrize("name", ["pooling.a", "seed", "task"])
def test_a_job_never_changes_once_it_is_made(name):
    section, _, key = name.rpartition(".")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(at(chosen(), section) if section else chosen(), key, 3)


def test_a_file_overrules_the_defaults_and_a_choice_the_file(tmp_path):
    text = "seed = 3\n[training]\nsteps = 50\nrate = 1e-3\n[pooling]\nname = 'lse'\nr = 2.5\n"
    job = chosen({"steps": 70, "pooling.r": 5, "training.batch": None}, text, tmp_path)
    assert (job.seed, job.training.steps, job.training.rate) == (3, 70, 1e-3)
    assert (job.pooling.name, job.pooling.r) == ("lse", 5)
    assert job.training.batch == ImagesJob().training.batch


@pytest.mark.parametrize(("short", "full"), SHORT.items())
def test_a_short_name_means_its_setting(short, full):
    values = {"channels": ("dna", "gfp"), "validation": 0.3, "device": "cpu", "split_by": "plate"}
    values |= {"cells": "own", "cell_score": "map", "masks": True, "maps": "true"}
    value = {**values, "spacing": "2,1,1"}.get(short, "40")
    kind = next(job for job in JOBS.values() if full.split(".")[0] in job.model_fields)
    assert chosen({short: value}, kind=kind) == chosen({full: value}, kind=kind) != chosen(kind=kind)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_devices_are_named_as_torch_names_them(device):
    assert chosen({"device": device}).compute.device == device


def test_a_byte_order_mark_does_not_matter(tmp_path):
    assert chosen(text=b"\xef\xbb\xbf[training]\r\nsteps = 7\r\n", tmp_path=tmp_path).training.steps == 7


@pytest.mark.parametrize("written", ["cell_diameter = 40", 'cell_diameter = "40"'])
def test_a_diameter_may_be_written_as_a_number(tmp_path, written):
    assert chosen(text=f"[scale]\n{written}\n", tmp_path=tmp_path) == chosen({"cell_diameter": 40})
    assert chosen({"cell_diameter": 40}).scale.cell_diameter == "40"


@pytest.mark.parametrize("written", ["40", "40.5px", "40 px", "20um", "20 µm", "20 μm", "auto", "off"])
def test_diameters_are_pixels_or_micrometres_or_words(written):
    assert chosen({"cell_diameter": written}).scale.cell_diameter == written


@pytest.mark.parametrize("written", ["-4", "0", "0um", "20 nm", "1e3", "inf", "", "large", "4 0", True])
def test_what_is_no_diameter_is_refused(written):
    problem = refused({"cell_diameter": written})
    assert "scale.cell_diameter" in problem.cause
    assert problem.code == "bad_setting"


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("training.steps=200", "training.steps", 200),
        ("training.rate=1e-3", "training.rate", 0.001),
        ("augment.dihedral=false", "augment.dihedral", False),
        (" table.root = a ", "table.root", "a"),
        ("images.channels=DNA, GFP", "images.channels", ("DNA", "GFP")),
        ('images.channels=["a,b", "c"]', "images.channels", ("a,b", "c")),
        ("images.channels=1", "images.channels", ("1",)),
        ("images.z=max", "images.z", "max"),
        ("images.z=3", "images.z", 3),
        ("table.root=C:\\plates\\new", "table.root", "C:\\plates\\new"),
        ("table.root='a b'", "table.root", "a b"),
        ("table.root=a=b", "table.root", "a=b"),
        ("scale.cell_diameter=40", "scale.cell_diameter", "40"),
        # Names that look like something else keep every character.
        ("split.by=1E05", "split.by", "1E05"),
        ("split.by=007", "split.by", "007"),
        ("split.by=true", "split.by", "true"),
        ("table.root=2024-01-01", "table.root", "2024-01-01"),
        ("table.root=[unfinished", "table.root", "[unfinished"),
        ("seed=3", "seed", 3),
    ],
)
def test_what_is_typed_becomes_what_the_setting_is(typed, name, value):
    found = at(chosen(parse_set([typed])), name)
    assert found == value
    assert type(found) is type(value)


def test_of_two_values_for_one_setting_the_last_counts():
    assert chosen(parse_set(["training.steps=1", "training.steps=2"])).training.steps == 2


@pytest.mark.parametrize("item", ["training.steps", "=3", "", " =3"])
def test_a_typed_setting_without_a_name_and_a_sign_is_refused(item):
    with pytest.raises(SettingsError, match="has no '='"):
        parse_set([item])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("step", "steps"),
        ("training.step", "training.steps"),
        ("pooling.nam", "pooling.name"),
        ("augment.dihedra", "augment.dihedral"),
        ("pooling.name.x", "pooling.name"),
        ("sede", "seed"),
        ("cell-diameter", "cell_diameter"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(name, near):
    problem = refused({name: 1})
    assert f"unknown setting '{name}' (did you mean '{near}'?)" in problem.cause
    assert problem.code == "unknown_setting"


@pytest.mark.parametrize("name", ["", ".", "nothing", "training"])
def test_an_unknown_setting_is_refused_also_without_a_neighbour(name):
    assert f"unknown setting '{name}'" in refused({name: 1}).cause


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[trainig]\nsteps = 3", "unknown setting 'trainig' (did you mean 'training'?)"),
        ("[training]\nstep = 3", "unknown setting 'training.step' (did you mean 'training.steps'?)"),
        ("steps = 3", "unknown setting 'steps' (did you mean 'training.steps'?)"),
        ('pooling = "gm"', "'pooling' is a section"),
        ("[seed]\nvalue = 3", "setting seed = {'value': 3}"),
        ("[[training]]\nsteps = 3", "'training' is a section"),
        ("seed = [1", "no TOML"),
        (b"\xff\xfe", "no TOML"),
    ],
)
def test_a_file_that_says_nothing_known_is_refused_by_name(tmp_path, text, words):
    assert words in refused(text=text, tmp_path=tmp_path).cause


def test_a_choice_within_what_the_file_takes_for_a_setting_is_refused_as_the_files_fault(tmp_path):
    assert "'pooling' is a section" in refused({"pooling.a": 5}, 'pooling = "gm"', tmp_path).cause


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.toml: cannot read the settings: No such file"):
        make_job(ImagesJob, tmp_path / "gone.toml")
    with pytest.raises(SettingsError, match="cannot read the settings"):
        make_job(ImagesJob, tmp_path)


def test_a_setting_of_training_is_none_of_scoring():
    problem = refused({"steps": 3}, kind=ReadJob)
    assert "'training' is a section for training" in problem.cause
    assert problem.code == "unknown_setting"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.steps", 0),
        ("training.steps", 2.5),
        ("training.steps", "many"),
        ("training.steps", [1]),
        ("training.batch", 1),  # a bag of one crop has no batch statistics
        ("training.rate", 0),
        ("training.rate", math.inf),
        ("training.rate", math.nan),
        ("network.bias", math.nan),
        ("network.bias", -math.inf),
        ("network.dropout_last", 1),
        ("pooling.a", 0),
        ("pooling.a", math.inf),
        ("pooling.b", 0),
        ("pooling.b", 1),
        ("pooling.r", -1),
        ("split.validation", 1),
        ("calls.threshold", 1.1),
        ("augment.scale", 1),
        ("augment.dihedral", 2),
        ("images.z", "top"),
        ("images.channels", 1),
        ("compute.device", "cuda:x"),
        ("compute.device", "gpu"),
        ("compute.tile", 15),
        ("seed", -1),
        ("seed", 2**63),
        ("task", "blocks"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_setting_and_the_value(name, value):
    problem = refused({name: value})
    assert problem.cause.startswith(f"setting {name} = {value!r}: ")
    assert problem.code == "bad_setting"
    assert name in problem.fix


def test_a_setting_of_several_types_says_all_it_could_be():
    cause = refused({"images.z": "top"}).cause
    assert "integer" in cause
    assert "'max' or 'mid'" in cause


def test_all_wrong_values_are_named_at_once():
    problem = refused({"training.steps": 0, "pooling.b": 2.0, "network.dropout_last": "x"})
    for name in ("training.steps = 0", "pooling.b = 2.0", "network.dropout_last = 'x'"):
        assert f"setting {name}: " in problem.cause
    assert "training.steps, " in problem.fix or ", training.steps" in problem.fix


@pytest.mark.parametrize("name", ["steps", "seed", "threads", "network.dropout_last", "cell_diameter"])
@pytest.mark.parametrize("value", [True, False])
def test_a_truth_value_is_no_number(name, value):
    assert f"= {value}: " in refused({name: value}).cause


def test_a_truth_value_is_one_where_it_is_asked_for():
    assert chosen({"images.gray": True}).images.gray is True
    assert chosen({"cells.masks": "true"}).cells.masks is True


def test_all_unknown_names_are_told_at_once(tmp_path):
    (tmp_path / "c.toml").write_text("poolin = 3\n[training]\nstep = 3\nsteps = 4\n[scale]\ntarget = 5\n")
    with pytest.raises(SettingsError) as raised:
        make_job(ImagesJob, tmp_path / "c.toml")
    cause = raised.value.problem.cause
    assert "'poolin' (did you mean 'pooling'?)" in cause
    assert "'training.step' (did you mean 'training.steps'?)" in cause
    assert "'scale.target' (did you mean 'scale.target_px'?)" in cause
    assert cause.count("unknown setting") == 3


def test_defaults_that_functions_repeat_are_those_of_the_settings():
    pooling, calls = PoolingSection(), CallsSection()
    repeated = {name: parameter.default for name, parameter in inspect.signature(make_pooling).parameters.items()}
    assert (repeated["a"], repeated["b"], repeated["r"]) == (pooling.a, pooling.b, pooling.r)
    assert (CallRule().threshold, CallRule().confidence) == (calls.threshold, calls.confidence)
    assert Checking().io_timeout == IO_TIMEOUT_S == ComputeSection().io_timeout
