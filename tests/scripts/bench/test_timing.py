import time

import pytest
import torch

from scripts.bench.gpu import draw_scene, run
from scripts.bench.rasterizer import draw_native
from scripts.bench.timing import WARM_UP, machine, measure, print_table
from utils.devices import CPU


@pytest.mark.long
def test_the_parts_of_a_step_are_told_apart_and_the_first_steps_do_not_count():
    calls = []

    def step(tick):
        calls.append(0)
        time.sleep(0.2 if len(calls) <= WARM_UP else 0.001)
        tick("short")
        time.sleep(0.02)
        tick("long")

    found = measure(step, CPU, 3)
    assert len(calls) == WARM_UP + 3
    assert found.keys() == {"short_ms", "long_ms", "total_ms"}
    assert 1 <= found["short_ms"] < 20 <= found["long_ms"]
    assert found["total_ms"] >= found["long_ms"]


def test_a_machine_is_told_by_its_device_processor_and_date():
    found = machine(CPU)
    assert found["device"].startswith("cpu (")
    assert found["processor"]
    assert found["torch"] == torch.__version__


def test_a_table_has_a_dash_where_a_row_has_nothing(capsys):
    print_table([{"a": "x", "b": 1.5}, {"a": "longer"}], {"name": "a", "ms": "b"})
    assert capsys.readouterr().out == "name      ms\nx       1.50\nlonger     -\n"


def test_a_scene_may_be_wider_than_high_and_only_the_leaves_count_as_traffic():
    drawn = []

    def draw(scene):
        drawn.append(draw_native(scene))
        return drawn[-1]

    found = draw_scene(draw, 10, (48, 32), CPU, 1)
    assert drawn[0].shape == (3, 32, 48)
    numbers = 10 * (3 + 4 + 3 + 1 + 48 + 3)
    assert found["least_mb"] == pytest.approx(4 * (3 * numbers + 2 * 3 * 32 * 48) / 1e6)


def test_what_fails_is_a_row_of_its_own(monkeypatch, capsys):
    import argparse

    from scripts.bench import gpu as bench_gpu

    def jobs(options, device):
        yield {"what": "broken"}, lambda: 1 / torch.zeros(2).view(3)
        yield {"what": "whole", "least_mb": 1.0}, lambda: {"total_ms": 1.0}

    for name in ("field_jobs", "adam_jobs", "scene_jobs"):
        monkeypatch.setattr(bench_gpu, name, lambda options, device: iter(()))
    monkeypatch.setattr(bench_gpu, "rasterizer_jobs", jobs)
    monkeypatch.setattr(bench_gpu, "limits", lambda device, repeats: {"copy_gb_s": 10.0})
    broken, whole = run(argparse.Namespace(device="cpu", repeats=1, json=None))
    assert "invalid for input of size 2" in broken["error"]
    assert whole["of_peak"] == pytest.approx(0.1)
