"""The RGB backbone as a torch.export program or an ONNX file, for one image size and any batch size.

Both take `pixel_values` (B, 3, H, W), normalised, and give `last_hidden_state` (B, prefix + N, D) and `pooler_output`
(B, D), as `RgbdModel` does. What was written is read back and compared with the model before it appears under its name.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.optional import MissingLibraryError
from rgbd3d.seeding import generator

INPUT = "pixel_values"
OUTPUTS = ("last_hidden_state", "pooler_output")
TOLERANCE = 1e-4
"""Largest accepted difference of a feature, absolute and relative: other kernels sum in another order."""

Outputs = tuple[Tensor, Tensor]


class ExportError(RuntimeError):
    """An exported model that does not compute what the model computes."""


def export_torch(model: nn.Module, path: str | Path, size: tuple[int, int]) -> float:
    """Writes a `torch.export` program (.pt2); `torch.export.load(path).module()` runs it.

    Args:
        model: A backbone or an `RgbdModel`; is not changed.
        path: File to write.
        size: (height, width), multiples of the patch; fixed in the file.

    Returns:
        Largest difference from the model.

    Raises:
        ExportError: The difference is larger than `TOLERANCE`.
        ValueError: A size that the patch does not divide, or a name that does not end in .pt2.
    """
    if Path(path).suffix != ".pt2":
        raise ValueError(f"the name of a torch.export program should end in .pt2, not as {Path(path).name!r}")
    network, image = _Encoder(model), _noise(2, size)
    network.backbone.grid(image)  # refuses a size that the patch does not divide
    program = torch.export.export(network, (image,), dynamic_shapes=_DYNAMIC_BATCH)
    with _written_at_once(Path(path)) as file:
        torch.export.save(program, file)
        return _compare(network, torch.export.load(file).module(), size, path)


def export_onnx(model: nn.Module, path: str | Path, size: tuple[int, int]) -> float:
    """Writes an ONNX file with the weights inside, and runs it with onnxruntime.

    Args:
        model: A backbone or an `RgbdModel`; is not changed.
        path: File to write.
        size: (height, width), multiples of the patch; fixed in the file.

    Returns:
        Largest difference from the model.

    Raises:
        MissingLibraryError: The extra `export` is not installed.
        ExportError: The difference is larger than `TOLERANCE`.
        ValueError: A size that the patch does not divide.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx imports it
    except ImportError as error:
        raise MissingLibraryError(str(error.name), "ONNX export", "export") from error

    network, image = _Encoder(model), _noise(2, size)
    network.backbone.grid(image)  # refuses a size that the patch does not divide
    with _written_at_once(Path(path)) as file:
        torch.onnx.export(
            network,
            (image,),
            file,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=_DYNAMIC_BATCH,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Outputs:
            tokens, pooled = session.run(list(OUTPUTS), {INPUT: images.numpy()})
            return torch.from_numpy(tokens), torch.from_numpy(pooled)

        return _compare(network, run, size, path)


_DYNAMIC_BATCH = {INPUT: {0: torch.export.Dim("batch")}}


class _Encoder(nn.Module):
    """A copy of the backbone on the CPU, in single precision, with named input and outputs."""

    backbone: RgbdViT

    def __init__(self, model: nn.Module):
        super().__init__()
        backbone: Any = model if isinstance(model, RgbdViT) else model.get_submodule("backbone")
        self.backbone = copy.deepcopy(backbone).cpu().float().eval().requires_grad_(False)
        self.backbone.set_grad_checkpointing(False)
        self.eval()

    def forward(self, pixel_values: Tensor) -> Outputs:
        tokens = self.backbone.forward_features(pixel_values)
        return tokens, self.backbone.forward_head(tokens)


def _noise(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size, generator=generator(batch, *size))


@torch.no_grad()
def _compare(
    network: nn.Module, exported: Callable[[Tensor], Outputs], size: tuple[int, int], path: str | Path
) -> float:
    """Largest difference over a batch size that was exported and one that was not."""
    worst = 0.0
    for batch in (2, 3):
        image = _noise(batch, size)
        for name, expected, found in zip(OUTPUTS, network(image), exported(image), strict=True):
            difference = (found - expected).abs().max().item()
            if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
                raise ExportError(f"{path} was not written: its {name} differs from the model's by {difference:.2g}")
            worst = max(worst, difference)
    return worst


@contextmanager
def _written_at_once(path: Path) -> Iterator[str]:
    """A temporary file that takes the place of `path` at the end; nothing is left of it after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        yield str(temporary)
        os.replace(temporary, path)
