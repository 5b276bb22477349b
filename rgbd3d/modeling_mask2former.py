"""Mask2Former for semantic segmentation on a plain ViT: transformers' decoders and loss on a simple feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerLoss,
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from rgbd3d.heads.simple_fpn import SimpleFeaturePyramid
from rgbd3d.heads.upsample import upsample
from rgbd3d.losses.segmentation import require_labels
from rgbd3d.optional import MissingLibraryError
from rgbd3d.types import IGNORE_LABEL

_LEVELS = 4
_FINEST = 4  # cells per token and axis at the finest level
_GROUPS = 32  # of the group norms in the pixel decoder

SetPrediction = dict[str, Tensor]
"""What one layer predicts: `class_queries_logits` (B, Q, classes + 1), the last one for "no object", and
`masks_queries_logits` (B, Q, 4 h, 4 w)."""


class Mask2FormerHead(nn.Module):
    """Queries that each predict a class and a mask; what a pixel is follows from all of them.

    The computation is that of transformers' `Mask2FormerForUniversalSegmentation` with the levels of a
    `SimpleFeaturePyramid` for a backbone; feed-forward layers grow with `width` as the original's with its 256.

    Args:
        dim: Width of the tokens.
        out_channels: Number of classes.
        width: Channels of the pyramid and of both decoders, a multiple of 32.
        queries: Number of queries; an image with more classes than that cannot be learnt.
        layers: Layers of the query decoder.
        patch_size: Pixels per patch side.

    Raises:
        ValueError: `width` is no multiple of 32.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        *,
        width: int = 256,
        queries: int = 100,
        layers: int = 9,
        patch_size: int = 16,
    ) -> None:
        super().__init__()
        if width % _GROUPS:
            raise ValueError(f"the pixel decoder has norms of {_GROUPS} groups: width {width} is no multiple of that")
        self.classes = out_channels
        self.patch_size = patch_size
        config = Mask2FormerConfig(
            num_labels=out_channels,  # type: ignore[call-arg]  # a property of every configuration
            num_queries=queries,
            decoder_layers=layers + 1,  # transformers counts the prediction before the first layer
            feature_size=width,
            mask_feature_size=width,
            hidden_dim=width,
            encoder_feedforward_dim=4 * width,
            dim_feedforward=8 * width,
        )
        self.pyramid = SimpleFeaturePyramid(dim, width)
        self.decoder = _SetDecoder(config, out_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Scores of classes at the resolution of the image, for an argmax: they are no log-probabilities.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float32 (B, out_channels, patch * h, patch * w).
        """
        return self.scores(self.decode(features)[-1])

    def decode(self, features: Sequence[Tensor]) -> list[SetPrediction]:
        """What every layer predicts, beginning with the queries themselves; `features` as in `forward`."""
        predictions: list[SetPrediction] = self.decoder(self.pyramid(features)[:_LEVELS])
        return predictions

    def scores(self, prediction: SetPrediction) -> Tensor:
        """The sum over queries of the probability that one shows a class times that of a pixel to be in its mask."""
        rows, columns = (side // _FINEST * self.patch_size for side in prediction["masks_queries_logits"].shape[-2:])
        with torch.autocast(prediction["masks_queries_logits"].device.type, enabled=False):
            classes = prediction["class_queries_logits"].float().softmax(-1)[..., :-1]
            # Masks are enlarged before the sigmoid, as in the original: enlarged probabilities have softer borders.
            masks = upsample(prediction["masks_queries_logits"], (rows, columns)).sigmoid()
            return torch.einsum("bqc,bqhw->bchw", classes, masks)

    def compare(self, predictions: Sequence[SetPrediction], semantic: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Matches queries with the classes of each image and compares them, after every layer.

        The points where masks are compared are drawn from torch's global generator. As in the original, a pixel
        without a label belongs to no mask; an image without any label does not count.

        Args:
            predictions: Of `decode`.
            semantic: int64 (B, H, W) of any size, train ids; 255 = ignore.

        Returns:
            The weighted sum over all layers, and the unweighted parts of the last one, detached: `cross_entropy` of the
            queries' classes, `mask` (binary cross-entropy) and `dice` of the matched masks.

        Raises:
            ValueError: A label is neither a class nor 255.
            MissingLibraryError: scipy, which finds the matching, is not installed.
        """
        require_labels(semantic, self.classes)
        with torch.autocast(semantic.device.type, enabled=False):  # half precision is too coarse for the matching
            labelled = (semantic != IGNORE_LABEL).flatten(1).any(1)
            if not bool(labelled.any()):  # the criterion would teach "no object"
                nothing = torch.stack([value.float().sum() for value in predictions[-1].values()]).sum() * 0.0
                return nothing, {name.removeprefix("loss_"): nothing.detach() for name in self._weights()}
            layers = [{name: value[labelled].float() for name, value in layer.items()} for layer in predictions]
            *auxiliary, last = layers
            labels, masks = zip(*(_objects(image) for image in semantic[labelled]), strict=True)
            losses = self._criterion().to(semantic.device)(
                **last, mask_labels=list(masks), class_labels=list(labels), auxiliary_predictions=auxiliary
            )
        weights = self._weights()
        total = torch.stack([value * weight for n, value in losses.items() for w, weight in weights.items() if w in n])
        return total.sum(), {name.removeprefix("loss_"): losses[name].detach() for name in weights}

    def _weights(self) -> dict[str, float]:
        config = self.decoder.config
        return {
            "loss_cross_entropy": config.class_weight,
            "loss_mask": config.mask_weight,
            "loss_dice": config.dice_weight,
        }

    def _criterion(self) -> Mask2FormerLoss:
        # Made where it is needed: its buffer is no weight, and only training needs scipy.
        try:
            return Mask2FormerLoss(self.decoder.config, self._weights())
        except ImportError as error:
            raise MissingLibraryError("scipy", "training Mask2Former", "eval") from error


class _SetDecoder(Mask2FormerPreTrainedModel):
    """All that follows the backbone in `Mask2FormerForUniversalSegmentation`, initialised as there."""

    def __init__(self, config: Mask2FormerConfig, classes: int) -> None:
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, [config.feature_size] * _LEVELS)
        self.transformer_module = Mask2FormerTransformerModule(config.feature_size, config)
        self.class_predictor = nn.Linear(config.hidden_dim, classes + 1)
        self.post_init()

    def forward(self, levels: Sequence[Tensor]) -> list[SetPrediction]:
        """Levels (B, width, h, w), finest first -> what every layer predicts."""
        pixels = self.pixel_decoder(levels)
        queries = self.transformer_module(pixels.multi_scale_features, pixels.mask_features)
        return [
            {"class_queries_logits": self.class_predictor(state.transpose(0, 1)), "masks_queries_logits": masks}
            for state, masks in zip(queries.intermediate_hidden_states, queries.masks_queries_logits, strict=True)
        ]


def _objects(semantic: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (H, W) -> the classes that occur, int64 (n,), and their masks, float32 (n, H, W)."""
    classes = torch.unique(semantic)
    classes = classes[classes != IGNORE_LABEL]
    return classes, (semantic == classes[:, None, None]).float()
