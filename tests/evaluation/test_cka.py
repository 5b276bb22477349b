"""CKA against reference values, the textbook formulas and known answers; memory, errors, command, files."""

import json
import math

import numpy as np
import pytest
import torch
from labelled_source import LabelledSource, frame
from PIL import Image
from safetensors.torch import load_file
from timm.models.swin_transformer_v2 import SwinTransformerV2

from rgbd3d import cli
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.evaluation.cka import _passes, cka, linear_cka
from rgbd3d.evaluation.networks import Network

# ------------------------------------------------------------------------------------------------- numbers of features


@pytest.fixture(scope="module")
def reference(golden):
    tensors = load_file(golden / "cka/inputs.safetensors") | load_file(golden / "cka/outputs.safetensors")
    return tensors | json.loads((golden / "cka/meta.json").read_text())


def test_biased_as_published(reference):
    tolerance = {"rel": reference["suggested"]["rtol"], "abs": reference["suggested"]["atol"]}
    assert linear_cka(reference["x"], reference["y"]) == pytest.approx(float(reference["linear_cka"]), **tolerance)
    assert linear_cka(reference["x"], reference["x"]) == pytest.approx(float(reference["linear_cka_self"]), **tolerance)


def test_unbiased_and_minibatch_as_published(reference):
    x, y, rel = reference["x"], reference["y"], reference["suggested_unbiased"]["rtol"]
    assert linear_cka(x, y, "unbiased") == pytest.approx(float(reference["unbiased_cka"]), rel=rel)
    batches = linear_cka(x, y, "minibatch", reference["batch_size"])
    assert batches == pytest.approx(float(reference["minibatch_cka"]), rel=rel)


def features(rows=12, columns=5, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic(x, y):
    """The unbiased estimator, summed as Song et al. write it."""
    k, m = x @ x.T, y @ y.T
    k.fill_diagonal_(0)
    m.fill_diagonal_(0)
    n = len(x)
    crossed = (k.sum() * m.sum()) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
    return ((k @ m).trace() + crossed) / (n * (n - 3))


def biased_cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_the_formulas_whatever_the_mean(shift):
    x, y = features() + shift, features(columns=7, seed=1)
    assert linear_cka(x, y) == pytest.approx(float(biased_cka(x, y)), rel=1e-9)
    x = x - shift  # the sums below lose digits to a large mean
    expected = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
    assert linear_cka(x + shift, y, "unbiased") == pytest.approx(float(expected), rel=1e-9)


def test_batches_of_unequal_size_are_averaged():
    x, y = features(rows=11), features(rows=11, columns=7, seed=1)
    parts = [slice(0, 5), slice(5, 11)]

    def mean(a, b):
        return sum(hsic(a[part], b[part]) for part in parts) / 2

    expected = mean(x, y) / (mean(x, x) * mean(y, y)).sqrt()
    assert linear_cka(x, y, "minibatch", 5) == pytest.approx(float(expected), rel=1e-9)
    assert linear_cka(x, y, "minibatch", 11) == pytest.approx(linear_cka(x, y, "unbiased"), rel=1e-12)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_rotation_scale_and_shift_change_nothing(estimator):
    x = features()
    rotation, _ = torch.linalg.qr(features(5, 5, seed=2))
    assert linear_cka(x, 3 * x @ rotation + 7, estimator) == pytest.approx(1, abs=1e-12)


def test_independent_features_of_few_examples():
    """What the unbiased estimator is for: the biased one calls wide noise alike."""
    x, y = features(32, 4096), features(32, 4096, seed=1)
    assert linear_cka(x, y) > 0.9
    assert abs(linear_cka(x, y, "unbiased")) < 0.1


def test_orthogonal_features_are_unlike():
    x = torch.tensor([[1.0], [-1], [1], [-1]])
    y = torch.tensor([[1.0], [1], [-1], [-1]])
    assert linear_cka(x, y) == 0


def test_bad_features():
    with pytest.raises(ValueError, match=r"\(n, p\) and \(n, q\)"):
        linear_cka(features(12), features(11))
    with pytest.raises(ValueError, match="4 frames or more"):
        linear_cka(features(3), features(3), "unbiased")
    with pytest.raises(ValueError, match="4 frames or more"):
        linear_cka(features(), features(), "minibatch", 3)
    with pytest.raises(ValueError, match="batch_size belongs to"):
        linear_cka(features(), features(), "minibatch")
    with pytest.raises(ValueError, match="y is the same for every frame"):
        linear_cka(features().float(), 0.1 + torch.zeros(12, 3))


# ----------------------------------------------------------------------------------------------- layers of networks


def network(name="one", seed=0, width=4):
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(3, width, 4, stride=4), torch.nn.GELU(), torch.nn.Conv2d(width, 5, 3, stride=2)]
    return Network(name, torch.nn.Sequential(*layers).eval(), (32, 48))


def layer_outputs(net, source, indices):
    x, outputs = net.images([source[i] for i in indices]), {}
    for name, module in net.module.named_children():
        x = module(x)
        outputs[name] = x.detach().flatten(1).double()
    return outputs


@pytest.mark.parametrize("memory", [2**30, 20_000], ids=["at once", "in many passes"])
def test_matrices_against_the_formulas(memory):
    source, one, two = LabelledSource(25), network(), network("two", seed=1, width=6)
    found = cka(one, two, source, frames=23, layers=["0", "2"], memory=memory)
    indices = [i * 25 // 23 for i in range(23)]
    a, b = layer_outputs(one, source, indices), layer_outputs(two, source, indices)
    for i, first in enumerate(("0", "2")):
        for j, second in enumerate(("0", "2")):
            assert found.between[i][j] == pytest.approx(float(biased_cka(a[first], b[second])), rel=1e-5)
            assert found.within_a[i][j] == pytest.approx(float(biased_cka(a[first], a[second])), rel=1e-5)
            assert found.within_b[i][j] == pytest.approx(float(biased_cka(b[first], b[second])), rel=1e-5)
    assert found.data == {"source": "made-up", "split": "train", "frames": 23, "digest": "0" * 64}
    assert "one" in str(found)


def test_minibatches_are_spread_over_the_source():
    source, one, two = LabelledSource(13), network(), network("two", seed=1)
    found = cka(one, two, source, estimator="minibatch", batch_size=5, layers=["2"])
    a, b = layer_outputs(one, source, range(13))["2"], layer_outputs(two, source, range(13))["2"]

    def mean(x, y):
        return sum(hsic(x[start::2], y[start::2]) for start in (0, 1)) / 2

    expected = mean(a, b) / (mean(a, a) * mean(b, b)).sqrt()
    assert found.between[0][0] == pytest.approx(float(expected), rel=1e-4)
    assert found.batch_size == 5
    assert found.data["frames"] == 13


def test_a_network_is_like_itself_whatever_the_estimator():
    for estimator in ("biased", "unbiased", "minibatch"):
        found = cka(network(), network(), LabelledSource(9), layers=["0", "2"], estimator=estimator, batch_size=4)
        assert np.diag(found.between) == pytest.approx([1, 1], abs=1e-9)
        assert found.between == found.within_a == found.within_b


def test_passes_cover_every_column_once_within_the_memory():
    groups = list(_passes([5, 12, 1], columns=4))
    assert all(sum(part.stop - part.start for part in group) <= 4 for group in groups)
    columns = [(part.layer, column) for group in groups for part in group for column in range(part.start, part.stop)]
    assert columns == [(layer, column) for layer, width in enumerate((5, 12, 1)) for column in range(width)]
    assert len(groups) == math.ceil(18 / 4)
    assert list(_passes([5, 2], columns=100)) == [[(0, 0, 5), (1, 0, 2)]]


def test_the_layers_of_mesa():
    torch.manual_seed(0)
    swin = SwinTransformerV2(
        img_size=64, embed_dim=8, depths=(1, 1, 18, 1), num_heads=(1,) * 4, window_size=2, num_classes=0
    )
    for block in swin.layers[2].blocks:
        torch.nn.init.ones_(block.norm1.weight)  # zero before training
    net = Network("swin", swin.eval(), (64, 64))
    found = cka(net, net, LabelledSource(6), layers=["mesa"])
    stage3 = [f"layers.2.blocks.{block}.norm1" for block in (3, 6, 9, 12, 15)]
    assert [*found.layers_a] == [
        "layers.1.downsample.norm",
        "layers.2.downsample.norm",
        *stage3,
        "layers.3.downsample.norm",
        "norm",
    ]
    assert len(found.between) == 9
    assert cka(net, net, LabelledSource(6)).layers_a == tuple(f"layers.{i}" for i in range(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "debiased"}, "unknown estimator 'debiased'; there are biased"),
        ({"frames": 3}, "4 frames or more"),
        ({"estimator": "minibatch", "batch_size": 3}, "4 frames or more"),
        ({"layers": ["7"]}, "one has no layer '7'$"),
        ({"layers": ["mesa"]}, r"one has no layer 'layers\.1\.downsample\.norm'.*; mesa names layers of a Swin-V2-L"),
        ({"memory": 1000}, "take fewer frames"),
        ({"layers": ["flat"]}, "one: flat is the same for every frame"),
        ({"layers": ["pair"]}, "one: pair does not put out one tensor"),
        ({"layers": ["idle"]}, "one: idle put out nothing"),
    ],
)
def test_bad_input(changes, message):
    class Pair(torch.nn.Module):
        def forward(self, x):
            return {"left": x, "right": x}

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.idle, self.usual = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity()
            self.pair = Pair()

        def forward(self, x):
            self.flat(torch.full_like(x, 0.3))
            self.pair(x)
            return self.usual(x)

    odd = Network("one", Odd(), (8, 8))
    with pytest.raises(ValueError, match=message):
        cka(odd, odd, LabelledSource(8), **{"layers": ["usual"], **changes})


def test_a_picture_that_is_no_png_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"FILE\.png"):
        cka("nothing", "nothing", "nowhere", output=tmp_path / "heat.jpg")


def test_files(tmp_path):
    picture = tmp_path / "new/heat.png"
    found = cka(network(), network("two", seed=1), LabelledSource(8), layers=["0", "2"], output=picture)
    image = np.asarray(Image.open(picture).convert("RGB"))
    assert image.shape[0] > 500
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    stored = json.loads(picture.with_suffix(".json").read_text())
    assert stored["between"] == found.between
    assert stored["layers_a"] == ["0", "2"]
    assert sorted(path.name for path in picture.parent.iterdir()) == ["heat.json", "heat.png"]
    unequal = cka(network(), network("two", seed=1), LabelledSource(8), layers=["0"])
    unequal.save(tmp_path / "one.png")


def test_command(tmp_path, capsys):
    frames = [encode_sample(frame(i)) for i in range(5)]
    write_shard(tmp_path / "train-00000-of-00001.parquet", frames, label_space="nyu40")
    name = "mask3d-vitt-synthrooms"
    output = tmp_path / "out/heat.png"
    arguments = ["cka", name, f"random:{name}", "--data", str(tmp_path), "--frames", "4", "--output", str(output)]
    assert cli.main([*arguments, "--layers", "blocks.0", "blocks.11", "--estimator", "unbiased"]) == 0
    printed = capsys.readouterr().out
    assert "CKA (unbiased, 4 frames)" in printed
    assert f"written: {output}" in printed
    assert json.loads(output.with_suffix(".json").read_text())["b"] == f"random:{name}"
    assert cli.main([*arguments, "--layers", "blocks.12"]) == 2
    assert "has no layer 'blocks.12'" in capsys.readouterr().err
