"""Centred kernel alignment: how alike the layers of two checkpoints are (MeSa §3.5; FACTS.md §5.3).

Linear CKA (Kornblith et al. 2019) compares the features X (n, p) and Y (n, q) of the same n frames by their inner
products: <K, L> / sqrt(<K, K> <L, L>) of the centred K = X X' and L = Y Y'. It is 1 for features that are equal up to
rotation and scale. Three estimators:

- biased: as published; too high where frames are few against the width of the features.
- unbiased: with the unbiased HSIC (Song et al. 2012); needs at least 4 frames, and can be slightly negative.
- minibatch: the unbiased HSIC averaged over batches before the ratio (Nguyen et al. 2021); any number of frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rgbd3d.data.base import Source
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.device import find_device
from rgbd3d.evaluation.networks import Network, open_network
from rgbd3d.evaluation.result import versions
from rgbd3d.evaluation.similarity import Estimator, Similarity

FEWEST = 4
"""Frames that the unbiased HSIC needs."""

LAYER_SETS = {
    "mesa": (
        "layers.1.downsample.norm",
        "layers.2.downsample.norm",
        *(f"layers.2.blocks.{block}.norm1" for block in (3, 6, 9, 12, 15)),
        "layers.3.downsample.norm",
        "norm",
    )
}
"""Layers that go by a name. "mesa": the nine of a Swin-V2-L that MeSa compares (Table 4), by their names in timm."""

_FORWARD_BATCH = 16
_NOISE = 1e-11  # share of the squared features that float32 rounding can make up


def cka(
    a: str | Path | Network,
    b: str | Path | Network,
    source: str | Path | Source,
    *,
    split: str = "train",
    frames: int = 512,
    estimator: Estimator = "biased",
    batch_size: int = 32,
    layers: Sequence[str] | None = None,
    device: str = "auto",
    memory: int = 2 << 30,
    output: Path | None = None,
) -> Similarity:
    """Compares two checkpoints layer by layer on the same frames, each at its own image size.

    The output of a layer is flattened per frame, all tokens and channels. The networks run one after the other. Where
    the features of all frames do not fit into memory, they are computed in several passes over the frames, each for
    some of the layers or columns; the result is the same.

    Args:
        a: Card, folder, Hub id or a backbone of another library; see `rgbd3d.evaluation.networks.open_network`.
        b: Likewise.
        source: Address of the frames, see `rgbd3d.data.sources.open_source`, or an open source.
        split: Part of the source, where an address is given.
        frames: So many, evenly spaced over the source, or all if there are fewer.
        estimator: See the module.
        batch_size: Of the minibatch estimator: batches have so many frames or a few more, spread over the source.
        layers: Modules of both networks by name, or a key of `LAYER_SETS`; by default the blocks or stages of each.
        device: Where networks and features are: "cpu", "cuda" or "auto".
        memory: Bytes that features may take at a time, and inner products likewise.
        output: FILE.png for the heat maps; FILE.json gets the numbers.

    Raises:
        ValueError: Fewer than 4 frames, an unknown estimator or layer, a layer that puts out the same for every frame,
            more frames than the memory allows, or an output that is no .png.
        ModelError: There is no such checkpoint.
        HubError: The Hub does not give it.
        DataError: The data cannot be read.
    """
    if estimator not in get_args(Estimator):
        raise ValueError(f"unknown estimator {estimator!r}; there are {', '.join(get_args(Estimator))}")
    if output is not None and output.suffix != ".png":
        raise ValueError(f"{output}: the heat maps are written as FILE.png, and the numbers beside them as FILE.json")
    where = find_device(device)
    data = source if isinstance(source, Source) else open_source(source, split, columns=["image"])
    batches = _batches(len(data), frames, batch_size if estimator == "minibatch" else None)
    networks = [given if isinstance(given, Network) else open_network(given) for given in (a, b)]
    names = [_layers(network, layers) for network in networks]
    _check_memory(batches, sum(map(len, names)), memory)
    grams_a, grams_b = (
        _network_grams(network, own, data, batches, where, memory) for network, own in zip(networks, names, strict=True)
    )
    within_a, within_b = _hsic(grams_a, grams_a, estimator), _hsic(grams_b, grams_b, estimator)
    norms_a, norms_b = (
        _norms(within, network.name, own)
        for within, network, own in zip((within_a, within_b), networks, names, strict=True)
    )
    result = Similarity(
        a=networks[0].name,
        b=networks[1].name,
        layers_a=names[0],
        layers_b=names[1],
        between=(_hsic(grams_a, grams_b, estimator) / norms_a[:, None] / norms_b).tolist(),
        within_a=(within_a / norms_a[:, None] / norms_a).tolist(),
        within_b=(within_b / norms_b[:, None] / norms_b).tolist(),
        estimator=estimator,
        batch_size=batch_size if estimator == "minibatch" else None,
        data={"source": data.name, "split": split, "frames": sum(map(len, batches)), "digest": data.digest()},
        versions=versions(where),
    )
    if output is not None:
        result.save(output)
    return result


def linear_cka(x: Tensor, y: Tensor, estimator: Estimator = "biased", batch_size: int | None = None) -> float:
    """CKA of two sets of features of the same examples.

    Args:
        x: (n, p), one row per example.
        y: (n, q).
        estimator: See the module.
        batch_size: Rows of a batch of the minibatch estimator, in their order; the last batch may be larger.

    Raises:
        ValueError: Another number of rows in x and y, too few of them, or features that are the same in every row.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"features should be (n, p) and (n, q), not {tuple(x.shape)} and {tuple(y.shape)}")
    if (estimator == "minibatch") != (batch_size is not None):
        raise ValueError("batch_size belongs to the minibatch estimator, which needs it")
    count = _count_batches(len(x), batch_size)
    bounds = [0, *(batch_size * i for i in range(1, count)), len(x)] if batch_size else [0, len(x)]
    kernels_x, kernels_y = (
        [gram(features[start:stop].clone())[None] for start, stop in pairwise(bounds)] for features in (x, y)
    )
    norm_x = _norms(_hsic(kernels_x, kernels_x, estimator), "linear_cka", ["x"])
    norm_y = _norms(_hsic(kernels_y, kernels_y, estimator), "linear_cka", ["y"])
    return float(_hsic(kernels_x, kernels_y, estimator) / norm_x / norm_y)


def gram(features: Tensor) -> Tensor:
    """Inner products of the rows of features (n, p), centred in place; float64 (n, n) on the CPU."""
    energy = features.square().sum(dtype=torch.float64)
    features -= features.mean(0)
    products = (features @ features.T).double()
    return (products if products.trace() > _NOISE * energy else torch.zeros_like(products)).cpu()


# ------------------------------------------------------------------------------------------------------- estimators


def _hsic(a: Sequence[Tensor], b: Sequence[Tensor], estimator: Estimator) -> Tensor:
    """HSIC of every layer of A with every layer of B, averaged over batches, up to a factor that CKA does not see.

    Args:
        a: For each batch of n frames, inner products (layers of A, n, n).
        b: Likewise for the layers of B.
        estimator: Which HSIC.
    """
    if estimator == "biased":
        return torch.stack([_centred(k).flatten(1) @ _centred(m).flatten(1).T for k, m in zip(a, b, strict=True)]).mean(
            0
        )
    values = []
    for k, m in zip(a, b, strict=True):
        frames = k.shape[-1]
        values.append(_u_centred(k).flatten(1) @ _u_centred(m).flatten(1).T / (frames * (frames - 3)))
    return torch.stack(values).mean(0)


def _centred(gram: Tensor) -> Tensor:
    """H K H of (..., n, n)."""
    return gram - gram.mean(-1, keepdim=True) - gram.mean(-2, keepdim=True) + gram.mean((-1, -2), keepdim=True)


def _u_centred(gram: Tensor) -> Tensor:
    """The unbiased counterpart of `_centred`: inner products of these are n (n - 3) times the HSIC of Song et al."""
    frames = gram.shape[-1]
    off = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
    rows = off.sum(-1, keepdim=True) / (frames - 2)
    total = off.sum((-1, -2), keepdim=True) / ((frames - 1) * (frames - 2))
    centred = off - rows - rows.mT + total
    return centred - torch.diag_embed(centred.diagonal(dim1=-2, dim2=-1))


def _norms(within: Tensor, where: str, names: Sequence[str]) -> Tensor:
    squares = within.diagonal()
    for name, square in zip(names, squares.tolist(), strict=True):
        if square <= 0:
            raise ValueError(f"{where}: {name} is the same for every frame, so it cannot be compared")
    return squares.sqrt()


def _count_batches(available: int, batch_size: int | None) -> int:
    if min(available, batch_size or available) < FEWEST:
        batches = "" if batch_size is None else f", in batches of {batch_size}"
        raise ValueError(f"CKA needs {FEWEST} frames or more, in every batch: there are {available}{batches}")
    return available // min(batch_size or available, available)


def _batches(available: int, frames: int, batch_size: int | None) -> list[list[int]]:
    """Indices of evenly spaced frames; every batch is spread over the source, where neighbours look alike."""
    count = min(frames, available)
    chosen = [i * available // count for i in range(count)]
    number = _count_batches(count, batch_size)
    return [chosen[start::number] for start in range(number)]


def _layers(network: Network, layers: Sequence[str] | None) -> tuple[str, ...]:
    wanted = layers and [name for given in layers for name in LAYER_SETS.get(given, (given,))]
    try:
        return network.layers(wanted)
    except ValueError as error:
        if "mesa" not in (layers or ()):
            raise
        raise ValueError(f"{error}; mesa names layers of a Swin-V2-L: leave it out to compare all blocks") from error


def _check_memory(batches: Sequence[Sequence[int]], layers: int, memory: int) -> None:
    needed = 8 * layers * sum(len(batch) ** 2 for batch in batches)
    if needed > memory:
        raise ValueError(
            f"{sum(map(len, batches))} frames, {layers} layers take {needed / 2**20:.0f} MiB of inner products, and "
            f"{memory / 2**20:.0f} are allowed; take fewer frames, or the minibatch estimator with a small batch size"
        )


# --------------------------------------------------------------------------------------------------------- features


class _Part(NamedTuple):
    """Columns `start` to `stop` of the flattened output of a layer."""

    layer: int
    start: int
    stop: int


@torch.no_grad()
def _network_grams(
    network: Network, layers: Sequence[str], source: Source, batches: Sequence[Sequence[int]], device: str, memory: int
) -> list[Tensor]:
    """Inner products (layers, n, n) of every batch."""
    network.module.to(device)
    modules = [network.module.get_submodule(name) for name in layers]
    widths = _widths(network, modules, layers, device)
    passes = [list(_passes(widths, memory // (4 * len(batch)))) for batch in batches]
    total = sum(len(batch) * len(groups) for batch, groups in zip(batches, passes, strict=True))
    grams = []
    with tqdm(total=total, desc=network.name, unit="frame", leave=False, disable=None) as progress:
        for batch, groups in zip(batches, passes, strict=True):
            kernel = torch.zeros(len(layers), len(batch), len(batch), dtype=torch.float64)
            for parts in groups:
                features = _features(network, modules, parts, source, batch, device, progress)
                for part, columns in zip(parts, features, strict=True):
                    kernel[part.layer] += gram(columns)
            grams.append(kernel)
    return grams


def _features(
    network: Network,
    modules: Sequence[nn.Module],
    parts: Sequence[_Part],
    source: Source,
    indices: Sequence[int],
    device: str,
    progress: Any,
) -> list[Tensor]:
    """The columns of every part, float32 (frames, stop - start)."""
    features = [torch.empty(len(indices), part.stop - part.start, device=device) for part in parts]
    rows = slice(0, 0)

    def keep(columns: Tensor, part: _Part) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            columns[rows] = _put_out(output).flatten(1)[:, part.start : part.stop]

        return hook

    handles = [
        modules[part.layer].register_forward_hook(keep(columns, part))
        for part, columns in zip(parts, features, strict=True)
    ]
    try:
        for start in range(0, len(indices), _FORWARD_BATCH):
            rows = slice(start, min(start + _FORWARD_BATCH, len(indices)))
            network.module(network.images([source[i] for i in indices[rows]]).to(device))
            progress.update(rows.stop - rows.start)
    finally:
        for handle in handles:
            handle.remove()
    return features


def _widths(network: Network, modules: Sequence[nn.Module], layers: Sequence[str], device: str) -> list[int]:
    """Number of features that each layer puts out per frame."""
    widths = dict.fromkeys(range(len(layers)), 0)

    def keep(number: int) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            features = _put_out(output)
            if widths[number] or not isinstance(features, Tensor):
                raise ValueError(f"{network.name}: {layers[number]} does not put out one tensor per image")
            widths[number] = features[0].numel()

        return hook

    handles = [module.register_forward_hook(keep(number)) for number, module in enumerate(modules)]
    try:
        network.module(torch.zeros(1, 3, *network.size, device=device))
    finally:
        for handle in handles:
            handle.remove()
    if unused := [name for name, width in zip(layers, widths.values(), strict=True) if not width]:
        raise ValueError(f"{network.name}: {', '.join(unused)} put out nothing for an image")
    return list(widths.values())


def _put_out(output: Any) -> Any:
    """What a module puts out; of the blocks of transformers that put out more the features, which come first."""
    return output[0] if isinstance(output, tuple) else output


def _passes(widths: Sequence[int], columns: int) -> Iterator[list[_Part]]:
    """Splits the columns of all layers into groups of at most `columns`, in order."""
    if columns < 1:
        raise ValueError("not even one feature of all frames fits into the memory allowed")
    group: list[_Part] = []
    room = columns
    for layer, width in enumerate(widths):
        start = 0
        while start < width:
            stop = min(start + room, width)
            group.append(_Part(layer, start, stop))
            room, start = room - (stop - start), stop
            if not room:
                yield group
                group, room = [], columns
    if group:
        yield group
