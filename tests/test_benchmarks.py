"""Do the benchmarks run, and are the figures that they keep complete and possible?"""

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bagscope.engine import loop
from bagscope.engine.compute import Execution
from bagscope.engine.events import SILENT
from bagscope.engine.states import Checkpoints
from bagscope.nets.kraus import KrausNet
from bagscope.settings.sections import NetworkSection
from benchmarks import __main__ as command
from benchmarks import gpu, memory, training
from benchmarks.bare import BareLoop
from benchmarks.convolution import arithmetic, convolution
from benchmarks.interleaved import seconds
from benchmarks.measures import MEASURES
from benchmarks.plates import job_of, task_in_memory, task_of
from benchmarks.rows import COLUMNS, Row, read_rows, write_rows
from benchmarks.sizes import SMALLEST
from benchmarks.tree import peak_bytes

# Fixed names (measure, setting); what needs a GPU or real images may be left out.
ALWAYS = {
    ("step_share", "fp32"),
    ("step_share", "bf16"),
    ("loop_over_bare", ""),
    ("loading_over_memory", ""),
    ("scoring_share", ""),
    ("scoring_megapixels_per_second", ""),
    ("scoring_memory_growth", ""),
    ("help_seconds_over_python", ""),
    ("map_over_forward", ""),
    ("maps_over_captum", "13"),
    ("propagation_over_forward", "512"),
    ("cells_over_field", "194"),
    ("image_latency_seconds", ""),
    ("report_mb", "plate"),
    ("report_mb", "ten_plates"),
    ("report_seconds", "plate"),
    ("report_seconds", "ten_plates"),
    ("sparse_speedup", "64_5percent"),
    ("sparse_memory", "64_5percent"),
    ("sparse_over_dense_worst", ""),
    ("blocks_step_over_ce", ""),
    ("sparse_growth", "64"),
    ("sparse_growth", "128"),
    ("sparse_growth", "256"),
}
SOMETIMES = {
    ("peak_memory_gb", "bbbc013"),
    ("tiles_over_monai", ""),
    ("tiles_memory", ""),
    *(("report_opens_seconds", of) for of in ("plate", "ten_plates")),
} | {(f"gpu_{what}", kind) for what in ("images_per_second", "memory_gb", "step_share") for kind in ("fp32", "bf16")}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for one another on a busy machine would make seconds of these small sizes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_results_hold_every_measure_once_and_plain_numbers():
    with command.RESULTS.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert set(rows[0]) == set(COLUMNS) == {"measure", "setting", "value"}
    names = [(row["measure"], row["setting"]) for row in rows]
    assert len(names) == len(set(names))
    assert set(names) >= ALWAYS
    assert set(names) <= ALWAYS | SOMETIMES
    assert all(math.isfinite(float(row["value"])) and float(row["value"]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MEASURES if name not in ("peak_memory_gb", "gpu")])
def test_a_measure_runs_at_its_smallest_and_gives_the_rows_it_names(name, tmp_path):
    rows = MEASURES[name].take(SMALLEST, tmp_path)
    names = {row.measure for row in rows}
    left_out = set(MEASURES[name].writes) - names
    assert names <= set(MEASURES[name].writes)
    assert left_out <= {measure for measure, _ in SOMETIMES}
    assert {(row.measure, row.setting) for row in rows} <= ALWAYS | SOMETIMES
    assert all(math.isfinite(row.value) for row in rows)


def test_every_row_is_written_by_one_measure():
    written = [row for measure in MEASURES.values() for row in measure.writes]
    assert sorted(written) == sorted({name for name, _ in ALWAYS | SOMETIMES})


def test_without_real_images_the_memory_of_training_is_left_out_with_a_word(tmp_path, monkeypatch, capsys):
    for there in ("", str(tmp_path)):
        monkeypatch.setenv("BAGSCOPE_DATA", there)
        assert memory.peak_memory_gb(SMALLEST, tmp_path) == []
        assert "left out: BAGSCOPE_DATA" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_memory_of_a_training_holds_that_of_the_programs_it_starts(tmp_path):
    # A parent of about 10 MB whose child holds 300 MB for a moment.
    child = "x = bytearray(300_000_000); x[::4096] = b'1' * len(x[::4096]); import time; time.sleep(.3)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert 300e6 < peak_bytes([sys.executable, "-c", parent]) < 400e6
    with pytest.raises(RuntimeError, match="ended with 3: no"):
        peak_bytes([sys.executable, "-c", "import sys; sys.stderr.write('no'); sys.exit(3)"])


def test_arithmetic_is_counted_as_by_hand():
    # 2 x products: per output element of a convolution its inputs x kernel, forward, once more for the weights'
    # gradient and once more for the input's, which the first layer of a network does not need.
    pass_ = convolution(3, 8, torch.float32, torch.device("cpu"), backward=False)
    both = convolution(3, 8, torch.float32, torch.device("cpu"), backward=True)
    by_hand = 2 * 3 * 8 * 8 * 256 * 256 * 9
    assert (arithmetic(pass_), arithmetic(both)) == (by_hand, 3 * by_hand)
    net = KrausNet(2, 1)
    # Edges after the average pooling and each maximum: 95, 47, 23, 11, 5 for 191.
    layers = [(95, 2, 32, 9), (95, 32, 64, 9), (47, 64, 64, 25), (23, 64, 128, 9), (11, 128, 128, 9)]
    layers += [(5, 128, 1000, 1), (5, 1000, 1, 1)]
    products = [edge**2 * wide * narrow * kernel for edge, narrow, wide, kernel in layers]
    counted = arithmetic(lambda: net(torch.zeros(1, 2, 191, 191)).sum().backward())
    assert counted == 2 * (3 * sum(products) - products[0])


def test_sides_take_turns_and_the_first_round_does_not_count(monkeypatch):
    order, clock = [], iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    found = seconds([lambda: order.append("A"), lambda: order.append("B")], rounds=3, warm=2)
    assert "".join(order) == "AB" * 5
    assert np.array_equal(found, np.ones((3, 2)))


def test_rows_come_back_as_they_were_written_and_one_measure_leaves_the_others(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    write_rows(path, [Row("step_share", "fp32", 0.71234), Row("loop_over_bare", "", 1.0)])
    assert read_rows(path) == [Row("step_share", "fp32", 0.7123), Row("loop_over_bare", "", 1.0)]
    monkeypatch.setattr(command, "RESULTS", path)
    monkeypatch.setattr(command, "taken", lambda chosen, size: [Row(chosen[0], "fp32", 0.5)])
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert command.main(["step_share"]) == 0
    assert read_rows(path) == [Row("loop_over_bare", "", 1.0), Row("step_share", "fp32", 0.5)]


def test_a_measure_that_is_not_there_is_refused_with_the_names_of_those_that_are(capsys):
    with pytest.raises(SystemExit):
        command.main(["step_shares"])
    assert "step_share, loop_over_bare" in capsys.readouterr().err


def test_the_tensors_of_both_loops_are_those_of_the_feed():
    task = task_in_memory(SMALLEST, torch.device("cpu"))
    held = training.InMemory(task)
    assert len(held.batches) == SMALLEST.steps
    for batch, again in zip(held.feed("train"), task.feed("train"), strict=True):
        assert torch.equal(batch.x, again.x)
    assert list(held.feed("validation")) == []


def test_the_loops_that_are_compared_learn_the_same(tmp_path):
    cpu, training_of = torch.device("cpu"), job_of(SMALLEST).training
    # Without dropout: each loop draws its own.
    job = job_of(SMALLEST).model_copy(update={"network": NetworkSection(dropout_last=0)})
    held = training.InMemory(task_of(job, task_in_memory(SMALLEST, cpu).crops.store, ["none", "positive"], cpu))
    ours = loop.fit(held, training_of, Execution(cpu), Checkpoints(tmp_path, "test"), SILENT).network.state_dict()
    bare = BareLoop(held, training_of, cpu, bf16=False)
    start = {name: values.clone() for name, values in bare.network.state_dict().items()}
    bare.run(held.batches)
    for name, values in bare.network.state_dict().items():
        torch.testing.assert_close(values, ours[name])
    assert any(not torch.equal(start[name], values) for name, values in ours.items())


def test_the_figures_of_a_gpu_need_one_but_their_logic_does_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.gpu(SMALLEST, Path()) == []
    rows = gpu.of_precision(SMALLEST, "fp32", torch.device("cpu"))
    assert [row[:2] for row in rows] == [
        ("gpu_images_per_second", "fp32"),
        ("gpu_memory_gb", "fp32"),
        ("gpu_step_share", "fp32"),
    ]
    assert rows[0].value > 0
