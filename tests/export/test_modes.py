"""Modes say again what moved linearly, exactly; and a page holds them within its steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from export import page
from export.about import About, Face
from export.columns import columns_of, gaussians_of
from export.modes import channels_of, of_face, of_moments
from tests.border import refused_cheaply
from tests.export.test_formats import cloud, degrees_between
from tests.export.test_moving import ABOUT, walk

N, E = 40, 3


def linear_face(seed=0):
    """(base (14, N), push (E, 14, N)): each control moves places, logs and colours."""
    source = np.random.default_rng(seed)
    columns = columns_of(cloud(N, 0))
    base = channels_of(columns, columns.quats)
    push = 0.1 * source.normal(size=(E, *base.shape)).astype(np.float32)
    push[:, 3:7] = 0
    return base, push


def test_components_of_all_moments_give_each_moment_back():
    source = np.random.default_rng(1)
    base, push = linear_face()
    weights = source.normal(size=(8, E))
    frames = [base + np.tensordot(w, push, 1) for w in weights]
    modes = of_moments(frames, rank=8)
    assert len(modes.modes) == E  # no more than there is
    assert set(modes.moving) == {0, 1, 2, 7, 8, 9, 10, 11, 12, 13}
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(modes.at(modes.performed(k / 7)), frame, atol=1e-4)


def test_a_face_that_is_linear_is_known_where_no_sample_was():
    source = np.random.default_rng(2)
    base, push = linear_face()
    controls = np.concatenate([np.full((1, E), 0.5), source.uniform(0, 1, (30, E))])
    frames = [base + np.tensordot(c - 0.5, push, 1) for c in controls]
    modes = of_face(frames, controls, controls[1:], rank=E)
    for wanted in source.uniform(-0.5, 1.5, (5, E)):
        truth = base + np.tensordot(wanted - 0.5, push, 1)
        np.testing.assert_allclose(modes.at(wanted), truth, atol=5e-3)
    np.testing.assert_array_equal(modes.at(controls[0]), base)


def test_fewer_modes_keep_what_moves_most():
    base, push = linear_face()
    push[0] *= 20
    controls = np.concatenate([np.zeros((1, E)), np.eye(E), -np.eye(E)])
    frames = [base + np.tensordot(c, push, 1) for c in controls]
    modes = of_face(frames, controls, controls, rank=1)
    strong = np.abs(modes.at(np.eye(E)[0]) - frames[1]).mean()
    assert strong < 0.1 * np.abs(push[0]).mean()


def test_a_page_gives_its_moments_back_within_its_steps(tmp_path):
    frames = walk(moments=6)
    page.write_moving(tmp_path / "a.html", frames, ABOUT)
    order = page.morton_order(frames[0].means.numpy())
    for k, frame in enumerate(frames):
        read, truth = columns_of(page.read_moving(tmp_path / "a.html", k / 5)), columns_of(frame)
        truth = truth.rows(order)
        assert np.abs(read.means - truth.means).max() < 1e-3
        assert degrees_between(read.quats, truth.quats).max() < 2
        assert np.abs(np.log(read.scales / truth.scales)).max() < 1e-3
        assert np.abs(read.opacities - truth.opacities).max() < 1e-3
        assert np.abs(read.sh - truth.sh).max() < 1.6 / 254 * 1.1


def test_what_is_never_seen_stays_behind(tmp_path):
    frames = walk(moments=3)
    for frame in frames:
        frame.opacities[:10] = 1e-4
    page.write_moving(tmp_path / "a.html", frames, ABOUT)
    assert len(page.read_moving(tmp_path / "a.html", 0).means) == len(frames[0].means) - 10


def test_a_page_of_a_face_names_its_controls(tmp_path):
    base, push = linear_face()
    controls = torch.cat([torch.zeros(1, E), torch.eye(E), -torch.eye(E)])
    rest = np.zeros((0, N), np.float32)
    samples = [page.gaussians_from(base + np.tensordot(c, push, 1), rest) for c in controls.numpy()]
    ends = torch.ones(E)
    face = Face(("a", "b", "</script>"), -ends, ends, 0 * ends, controls, controls, samples)
    about = About(1.0, True, (0.0, 0.0, 0.0), (0.0, 0.0, 4.0), (0.0, 0.0, 0.0), 0.8, face)
    page.write_moving(tmp_path / "a.html", samples, about)
    head, _ = page.read_page(tmp_path / "a.html")
    assert [told["name"] for told in head["controls"]] == ["a", "b", "</script>"]
    assert head["antialiased"] is True
    page.write_moving(tmp_path / "b.html", samples, replace(about, modes=2))
    assert (head["rank"], page.read_page(tmp_path / "b.html")[0]["rank"]) == (E, 2)
    text = (tmp_path / "a.html").read_text()
    assert text.count("<script") == 2
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other"])
def test_damaged_pages_are_refused_in_one_line(damage, tmp_path):
    file = tmp_path / "a.html"
    page.write_moving(file, walk(moments=3), ABOUT)
    text = file.read_text()
    at = text.index('text/plain">') + 500
    broken = {
        "cut": text[:at],
        "empty": "",
        "noise": text[:at] + "AAAA" * 20 + text[at + 80 :],
        "other": "<html></html>",
    }
    file.write_text(broken[damage])
    refused_cheaply(lambda: page.read_moving(file, 0), r"a\.html", len(text))


def test_gaussians_go_through_channels_and_back():
    given = cloud(N, 2)
    columns = columns_of(given)
    rest = columns.sh[:, 1:].reshape(N, -1).T
    again = page.gaussians_from(channels_of(columns, columns.quats), rest)
    truth = gaussians_of(columns)
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(again, name), getattr(truth, name), atol=1e-5, rtol=1e-4)
