"""The offset MLP: kernels against the PyTorch twin in double, and finite differences."""

import pytest
import torch
from fused_fields import _native, offset_mlp, reference

# points, features, width, depth, outputs of the heads: the shipped network, then awkward sizes
SHAPES = [
    (1000, 64, 64, 1, [3, 3, 4]),
    (97, 17, 33, 3, [3, 48, 1, 4, 3]),
    (1, 16, 32, 2, [5]),
    (300, 128, 256, 2, [3, 4]),
    (200, 35, 64, 0, [48]),
]


def network(width_in, width, depth, sizes, dtype=torch.float32, seed=0, again=0):
    draw = torch.Generator().manual_seed(seed)

    def linear(inputs, outputs):
        weight = torch.randn(outputs, inputs, generator=draw, dtype=dtype) / inputs**0.5
        bias = torch.randn(outputs, generator=draw, dtype=dtype) / 10
        return weight.requires_grad_(), bias.requires_grad_()

    reads = [width_in] + [width] * depth
    reads[again] += width_in * bool(again)
    trunk = [linear(size, width) for size in reads[:-1]]
    hidden = linear(reads[-1], width * len(sizes))
    return trunk, hidden, [linear(width, size) for size in sizes]


def tensors(net):
    trunk, hidden, heads = net
    return [tensor for layer in (*trunk, hidden, *heads) for tensor in layer]


def rebuilt(flat, depth):
    layers = list(zip(flat[::2], flat[1::2], strict=True))
    return layers[:depth], layers[depth], layers[depth + 1 :]


def values_and_grads(function, features, net, cotangents, activation="relu", again=0, bf16=False):
    outputs = function(features, *net, activation, again, bf16)
    return [*outputs, *torch.autograd.grad(outputs, [features, *tensors(net)], cotangents)]


def random_inputs(count, width, sizes, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(count, width, generator=draw, dtype=dtype, requires_grad=True)
    return features, [torch.randn(count, k, generator=draw, dtype=dtype) for k in sizes]


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize(("count", "width_in", "width", "depth", "sizes"), SHAPES)
def test_values_and_gradients_match_torch_in_double(
    variant, count, width_in, width, depth, sizes, activation
):
    net = network(width_in, width, depth, sizes)
    features, cotangents = random_inputs(count, width_in, sizes)
    found = values_and_grads(offset_mlp, features, net, cotangents, activation)
    exact = [t.detach().double().requires_grad_() for t in tensors(net)]
    truth = values_and_grads(
        reference.offset_mlp, features.detach().double().requires_grad_(), rebuilt(exact, depth),
        [c.double() for c in cotangents], activation,
    )  # fmt: skip
    for mine, true in zip(found, truth, strict=True):
        assert (mine - true).norm() <= 3e-6 * true.norm()


# The network of GaussianHead; then the layer of all heads reads the features again.
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize(
    ("count", "width_in", "width", "depth", "sizes", "again"),
    [(300, 63, 64, 4, [10], 3), (97, 17, 33, 2, [3, 4], 1), (97, 5, 16, 2, [3, 4], 2)],
)
def test_a_layer_that_reads_the_features_again_matches_torch_in_double(
    variant, count, width_in, width, depth, sizes, again, activation
):
    net = network(width_in, width, depth, sizes, again=again)
    features, cotangents = random_inputs(count, width_in, sizes)
    found = values_and_grads(offset_mlp, features, net, cotangents, activation, again)
    exact = [t.detach().double().requires_grad_() for t in tensors(net)]
    truth = values_and_grads(
        reference.offset_mlp, features.detach().double().requires_grad_(), rebuilt(exact, depth),
        [c.double() for c in cotangents], activation, again,
    )  # fmt: skip
    for mine, true in zip(found, truth, strict=True):
        assert (mine - true).norm() <= 3e-6 * true.norm()
    outputs = offset_mlp(features.detach(), *net, activation, again)
    alone = torch.autograd.grad(outputs, tensors(net), cotangents)
    for mine, with_features in zip(alone, found[len(sizes) + 1 :], strict=True):
        assert torch.equal(mine, with_features)


def silenced(cotangents, told):
    """(N,) the rows that are not among `told`, whose gradients are zero from now on."""
    silent = torch.ones(len(cotangents[0]), dtype=torch.bool)
    silent[list(told)] = False
    for cotangent in cotangents:
        cotangent[silent] = 0
    return silent


@pytest.mark.parametrize("again", [0, 2])
@pytest.mark.parametrize("told", [[], [5], range(0, 1000, 3), range(96, 192)])
def test_rows_without_a_gradient_are_left_out_of_it(variant, told, again):
    net = network(35, 64, 2, [3, 1, 33], again=again)
    features, cotangents = random_inputs(1000, 35, [3, 1, 33])
    silent = silenced(cotangents, told)
    cotangents[0][~silent, 1:] = 0  # a single number tells a row
    cotangents[2][~silent] = 0
    found = values_and_grads(offset_mlp, features, net, cotangents, "relu", again)
    exact = [t.detach().double().requires_grad_() for t in tensors(net)]
    truth = values_and_grads(
        reference.offset_mlp, features.detach().double().requires_grad_(), rebuilt(exact, 2),
        [c.double() for c in cotangents], "relu", again,
    )  # fmt: skip
    for mine, true in zip(found, truth, strict=True):
        assert (mine - true).norm() <= 3e-6 * true.norm()
    assert not found[3][silent].any()


@pytest.mark.parametrize("parts", [[1, 32], [3, 4, 26], [33, 0]])
@pytest.mark.parametrize("silent", [0, 97])
def test_a_head_in_parts_is_the_head_cut(variant, parts, silent):
    trunk, hidden, heads = network(17, 64, 1, [33])
    features, (cotangent,) = random_inputs(300, 17, [33])
    cotangent[:silent] = cotangent[250:] = 0
    flat = [features, *tensors((trunk, hidden, heads))]
    (whole,) = offset_mlp(features, trunk, hidden, heads)
    cut = offset_mlp(features, trunk, hidden, heads, parts=parts)
    assert [part.shape[1] for part in cut] == parts
    assert torch.equal(torch.cat(cut, 1), whole)
    truth = torch.autograd.grad(whole, flat, cotangent)
    found = torch.autograd.grad(cut, flat, cotangent.split(parts, dim=1))
    assert all(torch.equal(mine, true) for mine, true in zip(found, truth, strict=True))
    twin = reference.offset_mlp(features, trunk, hidden, heads, parts=parts)
    for mine, true in zip(cut, twin, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("again", [0, 2])
@pytest.mark.parametrize("widths", [[8, 8, 1], [16, 1], [17]])
def test_features_in_tensors_of_their_own_are_those_of_the_joined_one(variant, again, widths):
    net = network(17, 33, 2, [3, 4], again=again)
    whole, cotangents = random_inputs(300, 17, [3, 4])
    for cotangent in cotangents:
        cotangent[::5] = 0  # rows that are left out of the backward pass
    parts = [part.detach().clone() for part in whole.split(widths, dim=1)]
    for part in parts[:2]:  # a third gets no gradient
        part.requires_grad_()
    cut = offset_mlp(parts, *net, "relu", again)
    found = torch.autograd.grad(cut, [*parts[:2], *tensors(net)], cotangents)
    joined = values_and_grads(offset_mlp, whole, net, cotangents, "relu", again)
    *outputs, of_whole = joined[:3]
    assert all(map(torch.equal, cut, outputs))
    for mine, true in zip(found, [*of_whole.split(widths, dim=1)[:2], *joined[3:]], strict=True):
        assert torch.equal(mine, true)
    for mine, twin in zip(cut, reference.offset_mlp(parts, *net, "relu", again), strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("again", [1, 2])
def test_gradients_with_features_read_again_match_finite_differences(again):
    net = network(5, 7, 2, [3, 2], torch.float64, again=again)
    features, _ = random_inputs(6, 5, [], torch.float64)

    def function(features, *flat):
        return tuple(offset_mlp(features, *rebuilt(flat, 2), "sigmoid", again))

    torch.autograd.gradcheck(function, (features, *tensors(net)))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("untrained", [False, True])
def test_gradients_match_finite_differences(untrained, activation):
    net = network(5, 7, 2, [3, 2], torch.float64)
    if untrained:  # the 4DGS start: heads are zero, and only they have a gradient
        for tensor in (t for head in net[2] for t in head):
            tensor.data.zero_()
    features, _ = random_inputs(6, 5, [], torch.float64)

    def function(features, *flat):
        return tuple(offset_mlp(features, *rebuilt(flat, 2), activation))

    torch.autograd.gradcheck(function, (features, *tensors(net)))


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    net = network(20, 32, 1, [3, 4])
    features, cotangents = random_inputs(5000, 20, [3, 4])
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_grads(offset_mlp, features, net, cotangents))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_feature_does_what_it_does_in_torch(variant, bad, activation):
    net = network(16, 32, 2, [3, 4])
    features, cotangents = random_inputs(200, 16, [3, 4])
    with torch.no_grad():
        features[7, 3] = bad
    found = values_and_grads(offset_mlp, features, net, cotangents, activation)
    truth = values_and_grads(reference.offset_mlp, features, net, cotangents, activation)
    for mine, true in zip(found, truth, strict=True):
        torch.testing.assert_close(mine, true, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sigmoid_is_that_of_torch_over_its_whole_range(variant, dtype):
    x = torch.cat([torch.linspace(-800, 800, 4001), torch.linspace(-20, 20, 4001)]).to(dtype)
    one = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    (found,) = offset_mlp(x[:, None], [], one, [one], "sigmoid")
    truth = torch.sigmoid(x.double())[:, None]
    far = 2e-37 if dtype == torch.float32 else 1e-304  # what is smaller is 0
    assert ((found - truth).abs() <= 3 * torch.finfo(dtype).eps * truth + far).all()


def test_no_points_give_empty_outputs_and_zero_gradients():
    net = network(16, 32, 1, [3, 4])
    features, cotangents = random_inputs(0, 16, [3, 4])
    *outputs, grad_features = (found := values_and_grads(offset_mlp, features, net, cotangents))[:3]
    assert [tuple(output.shape) for output in outputs] == [(0, 3), (0, 4)]
    assert grad_features.shape == (0, 16)
    assert not any(grad.any() for grad in found[3:])


def test_a_head_that_is_not_used_gets_a_zero_gradient():
    net = network(16, 32, 1, [3, 4])
    features, _ = random_inputs(50, 16, [])
    offset_mlp(features, *net)[0].sum().backward()
    mine = features.grad.clone()
    assert not net[2][1][0].grad.any()
    features.grad = None
    reference.offset_mlp(features, *net)[0].sum().backward()
    torch.testing.assert_close(mine, features.grad)


def test_strided_inputs_are_read_correctly():
    net = network(16, 32, 1, [3])
    wide = torch.randn(40, 32)
    torch.testing.assert_close(
        offset_mlp(wide[:, ::2], *net)[0], offset_mlp(wide[:, ::2].clone(), *net)[0]
    )


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    net = network(6, 8, 1, [3, 4])
    features, _ = random_inputs(9, 6, [])
    trunk, hidden, heads = net
    layers = [*trunk, hidden, *heads]
    torch.library.opcheck(
        torch.ops.fused_fields.offset_mlp.default,
        ([features], [w for w, _ in layers], [b for _, b in layers], 2, False, 0, False, None),
    )


def test_other_dtypes_run_on_the_twin():
    net = network(6, 8, 1, [3], torch.bfloat16)
    assert offset_mlp(torch.ones(4, 6, dtype=torch.bfloat16), *net)[0].dtype == torch.bfloat16


def test_a_layer_that_does_not_fit_is_named():
    trunk, hidden, heads = network(6, 8, 2, [3, 4])
    features = torch.zeros(5, 6)
    with pytest.raises(ValueError, match=r"trunk\[1\] has a weight of shape \(8, 8\).*3"):
        offset_mlp(features, [(torch.zeros(3, 6), torch.zeros(3)), trunk[1]], hidden, heads)
    with pytest.raises(ValueError, match=r"heads\[0\] .* expected \(outputs, 16\)"):
        offset_mlp(features, trunk, hidden, heads[:1])
    with pytest.raises(ValueError, match="hidden has 16 outputs, which 3 heads cannot share"):
        offset_mlp(features, trunk, hidden, [*heads, heads[0]])
    with pytest.raises(ValueError, match="again is 3; expected 0 for none, or a layer up to 2"):
        offset_mlp(features, trunk, hidden, heads, again=3)
    with pytest.raises(ValueError, match=r"parts are \(3, 5\) of heads with \[3, 4\] outputs"):
        offset_mlp(features, trunk, hidden, heads, parts=[3, 5])
    with pytest.raises(ValueError, match="0 heads"):
        offset_mlp(features, trunk, hidden, [])
    with pytest.raises(TypeError, match=r"trunk\[0\] is torch.float32 .* torch.float64"):
        offset_mlp(features.double(), trunk, hidden, heads)
    with pytest.raises(ValueError, match=r"\(5, 4\), \(4, 2\), .* of one N"):
        offset_mlp([features[:, :4], features[:4, 4:]], trunk, hidden, heads)
    with pytest.raises(TypeError, match=r"features are torch.float32 on cpu, torch.float64 on cpu"):
        offset_mlp([features[:, :4], features[:, 4:].double()], trunk, hidden, heads)


@pytest.fixture(params=[1, 2, 3])
def form(request, variant, monkeypatch):
    """How operands in bfloat16 are multiplied; what this processor cannot is skipped."""
    if request.param > _native.bf16_form():
        pytest.skip("no instructions for it here, or not in this variant")
    monkeypatch.setattr(_native, "bf16_form", lambda: request.param)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize(
    ("count", "width_in", "width", "depth", "sizes", "again"),
    [(*shape, 0) for shape in SHAPES]
    + [(300, 63, 64, 4, [10], 3), (97, 5, 16, 2, [3, 4], 2)]
    + [(2, 1, 1, 1, [1], 0), (195, 7, 15, 3, [2], 2), (95, 31, 31, 1, [17, 6], 1)],  # odd
)
def test_rounded_products_are_those_of_the_twin(
    form, count, width_in, width, depth, sizes, again, activation
):
    net = network(width_in, width, depth, sizes, again=again)
    features, cotangents = random_inputs(count, width_in, sizes)
    assert_as_the_twin_rounds(features, net, cotangents, activation, again)


def assert_as_the_twin_rounds(features, net, cotangents, activation="relu", again=0):
    found = values_and_grads(offset_mlp, features, net, cotangents, activation, again, True)
    mlp = reference.offset_mlp
    twin = values_and_grads(mlp, features, net, cotangents, activation, again, True)
    for mine, true in zip(found, twin, strict=True):
        # A sum that differs in its last bit may be rounded to the next bfloat16, 2^-7 away.
        assert (mine - true).norm() <= 2.0**-9 * true.norm()


@pytest.mark.parametrize("again", [0, 2])
@pytest.mark.parametrize("told", [[], [5], range(0, 1000, 3), range(96, 193)])
def test_rows_without_a_gradient_are_left_out_of_rounded_products(form, told, again):
    net = network(35, 64, 2, [3, 1, 33], again=again)
    features, cotangents = random_inputs(1000, 35, [3, 1, 33])
    silenced(cotangents, told)
    assert_as_the_twin_rounds(features, net, cotangents, "relu", again)


def test_rounded_features_and_outputs_may_come_in_parts(form):
    net = network(17, 33, 2, [33], again=2)
    whole, (cotangent,) = random_inputs(300, 17, [33])
    cotangent[::5] = 0
    features = [part.detach().clone().requires_grad_() for part in whole.split([8, 8, 1], dim=1)]
    cut = offset_mlp(features, *net, again=2, bf16=True, parts=[4, 29])
    found = torch.autograd.grad(cut, [*features, *tensors(net)], cotangent.split([4, 29], dim=1))
    output, of_whole, *of_net = values_and_grads(
        offset_mlp, whole, net, [cotangent], "relu", 2, True
    )
    assert torch.equal(torch.cat(cut, 1), output)
    for mine, true in zip(found, [*of_whole.split([8, 8, 1], dim=1), *of_net], strict=True):
        assert torch.equal(mine, true)


def test_gradients_of_biases_are_sums_of_what_is_not_rounded(form):
    """Every row's gradient is 1 + 2^-9, which is no bfloat16."""
    hidden = torch.ones(40, 16), torch.ones(40)
    head = torch.tensor([[1.0], [2.0**-9]]).repeat(1, 40), torch.zeros(2)
    for tensor in (*hidden, *head):
        tensor.requires_grad_()
    (output,) = offset_mlp(torch.ones(100, 16), [], hidden, [head], bf16=True)
    cotangent = torch.ones(100, 2)
    (of_hidden,) = torch.autograd.grad(output, hidden[1], cotangent, retain_graph=True)
    (of_head,) = torch.autograd.grad(output, head[1], cotangent * (1 + 2.0**-9))
    torch.testing.assert_close(of_hidden, torch.full((40,), 100 * (1 + 2.0**-9)))
    torch.testing.assert_close(of_head, torch.full((2,), 100 * (1 + 2.0**-9)))


@pytest.mark.parametrize("steps", [1, 31, 33, 64])
def test_one_rounded_product_is_exact_up_to_the_order_of_its_sum(form, steps):
    """One layer, so that nothing is rounded after a sum."""
    features, _ = random_inputs(100, steps, [])
    draw = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(17, steps, generator=draw), torch.randn(17, generator=draw)
    last = torch.eye(17), torch.zeros(17)
    with torch.no_grad():
        (found,) = offset_mlp(features, [], (weight, bias + 50), [last], bf16=True)
        product = features.bfloat16().double() @ weight.bfloat16().double().T + bias + 50
    # The last layer is a rounding of its own, by half of a bfloat16's last bit.
    assert ((found - product).abs() <= 2.0**-8 * product.abs() * 1.001).all()
    assert torch.equal(found, found.bfloat16().float())


def test_bits_of_rounded_products_do_not_depend_on_the_number_of_threads(form, thread_counts):
    net = network(20, 32, 1, [3, 4])
    features, cotangents = random_inputs(5000, 20, [3, 4])
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_grads(offset_mlp, features, net, cotangents, "relu", 0, True))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_feature_spoils_its_own_row_alone_when_rounded(form, bad):
    net = network(16, 32, 2, [3, 4])
    features, _ = random_inputs(200, 16, [])
    with torch.no_grad():
        whole = offset_mlp(features, *net, bf16=True)
        features[7, 3] = bad
        spoilt = offset_mlp(features, *net, bf16=True)
    others = torch.arange(200) != 7
    for before, after in zip(whole, spoilt, strict=True):
        assert not after[7].isfinite().all()
        assert torch.equal(before[others], after[others])


def test_doubles_are_not_rounded():
    net = network(6, 8, 1, [3], torch.float64)
    with pytest.raises(TypeError, match=r"features is torch.float64; bf16 rounds torch.float32"):
        offset_mlp(torch.ones(4, 6, dtype=torch.float64), *net, bf16=True)
