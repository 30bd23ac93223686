import pytest
import torch

from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable
from training.options import GeometryRates, PhotometricWeights, TableRates


@pytest.fixture
def table():
    xyz = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    return GaussianTable.from_points(PointCloud(xyz, xyz), 1)


def test_every_column_has_a_group_and_its_rate(table):
    groups = TableRates().table_groups(table, 2.0, 100)
    assert [group.name for group in groups] == list(table.columns)
    rates = {group.name: group.lr(0) for group in groups}
    assert rates["means"] == pytest.approx(2.0 * 1.6e-4)  # in scene extents
    assert rates["sh_rest"] == pytest.approx(rates["sh_dc"] / 20)
    assert all(list(group.params()) == [table.columns[group.name]] for group in groups)


def test_a_column_without_a_rate_is_named_unless_it_stands_apart(table):
    table.columns["weights"] = torch.nn.Parameter(torch.zeros(4, 2))
    with pytest.raises(
        ValueError, match="no learning rate for column 'weights'; there is one for means"
    ):
        TableRates().table_groups(table, 1.0, 100)
    groups = TableRates().table_groups(table, 1.0, 100, apart=["weights"])
    assert "weights" not in [group.name for group in groups]
    with pytest.raises(ValueError, match="column 'opacity_logits'"):
        GeometryRates().table_groups(table, 1.0, 100, apart=["weights"])


def test_terms_on_pictures_have_the_weights_they_are_given():
    weights = PhotometricWeights(lambda_l2=0.5, lambda_dssim=0.2)
    assert [(term.name, term.weight(1)) for term in weights.pictures(0.8)] == [
        ("l1", 0.8),
        ("l2", 0.5),
        ("dssim", 0.2),
    ]
    assert [term.name for term in weights.pictures(0.0, l2=0.0)] == ["dssim"]
