"""Which patches an encoder sees. Everything random comes from one `torch.Generator`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def keep_count(ratio: float, patches: int) -> int:
    """Number of kept patches: `round(ratio * patches)`.

    Args:
        ratio: KEPT fraction, 0 to 1.
        patches: Number of patches of an image.

    Raises:
        ValueError: `ratio` is outside 0 to 1.
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"a keep ratio is a fraction between 0 and 1, got {ratio}")
    return round(ratio * patches)


def random_keep(
    batch: int,
    patches: int,
    counts: Sequence[int],
    *,
    disjoint: bool,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ...]:
    """Draw for each image which patches each modality keeps.

    Args:
        batch: Number of images, drawn independently.
        patches: Number of patches of an image.
        counts: Number of kept patches by modality.
        disjoint: No location is kept by two modalities (Mask3D §3.1).
        generator: Source of randomness; torch's default generator if not given.

    Returns:
        For each count an int64 tensor (batch, count) of ascending patch indices, on the generator's device.

    Raises:
        ValueError: The counts do not fit.
    """
    if any(not 0 <= count <= patches for count in counts):
        raise ValueError(f"cannot keep {list(counts)} of {patches} patches")
    if disjoint and sum(counts) > patches:
        raise ValueError(
            f"disjoint masks cannot keep {' + '.join(map(str, counts))} of {patches} patches; "
            "lower the keep ratios or set `disjoint: false`"
        )
    device = generator.device if generator is not None else None

    def order() -> Tensor:
        return torch.rand(batch, patches, generator=generator, device=device).argsort(dim=1)

    if disjoint:
        chosen = order()[:, : sum(counts)].split(list(counts), dim=1)
    else:
        chosen = tuple(order()[:, :count] for count in counts)
    return tuple(indices.sort(dim=1).values for indices in chosen)


def keep_to_mask(keep: Tensor, patches: int) -> Tensor:
    """Kept indices (B, K) to a bool mask (B, patches) that is True where a patch is kept."""
    mask = torch.zeros(keep.shape[0], patches, dtype=torch.bool, device=keep.device)
    return mask.scatter(1, keep, True)


def keep_from_masks(masks: Mapping[str, Tensor], names: Sequence[str], batch: int, patches: int) -> dict[str, Tensor]:
    """Kept indices of masks that the caller chose; the inverse of `keep_to_mask`.

    Args:
        masks: Modality -> bool (batch, patches), True = kept.
        names: The modalities that must be there.
        batch: Number of images.
        patches: Number of patches of an image.

    Returns:
        Modality -> ascending int64 indices (batch, kept).

    Raises:
        ValueError: A mask is missing, unknown or of the wrong shape, or the images keep different numbers of patches,
            which a dense batch cannot hold.
    """
    if set(masks) != set(names):
        raise ValueError(f"`masks` needs exactly the entries {list(names)}, got {list(masks)}")
    return {name: _indices(name, masks[name], (batch, patches)) for name in names}


def _indices(name: str, mask: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(mask.shape) != shape or mask.dtype != torch.bool:
        raise ValueError(f"masks[{name!r}] must be bool {shape}, got {mask.dtype} {tuple(mask.shape)}")
    counts = mask.sum(dim=1)
    if (counts != counts[0]).any():
        raise ValueError(f"masks[{name!r}] must keep equally many patches of every image, got {counts.tolist()}")
    return mask.nonzero()[:, 1].reshape(shape[0], -1)
