"""Measures models by a protocol, and writes what was measured, on what and how."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rgbd3d import registry
from rgbd3d.card_weights import BACKBONE_FILE
from rgbd3d.cards import Card
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.device import find_device
from rgbd3d.evaluation.looks.base import Look
from rgbd3d.evaluation.looks.page import LOOKS, write_page
from rgbd3d.evaluation.metrics import Meter
from rgbd3d.evaluation.models import check_fits, check_same_recipe
from rgbd3d.evaluation.protocols import TransferProtocol, find_card, find_protocol
from rgbd3d.evaluation.protocols_base import OWN_SIZE, ScoredProtocol
from rgbd3d.evaluation.result import Data, Result, comparable, versions
from rgbd3d.evaluation.score import results, score
from rgbd3d.seeding import check_seeds

_log = logging.getLogger(__name__)

SAMPLES = 8
"""Frames that the page of a scored model shows, unless told otherwise."""


def evaluate(
    models: str | Sequence[str],
    protocol: str,
    data: str | Path,
    *,
    split: str | None = None,
    seeds: Sequence[int] | None = None,
    pretrained: bool = True,
    samples: int | None = None,
    full_size: bool = False,
    device: str = "auto",
    output: Path | None = None,
) -> Result:
    """Measures a model, by either kind of protocol.

    Args:
        models: For `measure_transfer` one, for `score_models` one or more.
        protocol: Key of `rgbd3d.evaluation.protocols.PROTOCOLS`.
        data: Source spec, see `rgbd3d.data.sources.open_source`.
        split: Part of the source; by default that of the protocol, or "train".
        seeds: See `measure_transfer`, which alone takes them; 0 by default.
        pretrained: See `measure_transfer`, which alone takes False.
        samples: See `score_models`, which alone takes it; 8 by default.
        full_size: See `score_models`, which alone takes True.
        device: "cpu", "cuda" or "auto"; transfer is measured on the CPU.
        output: Folder of the result; nothing is written without it.

    Raises:
        ValueError: The protocol is unknown, the model or the data do not fit it, an option is for other protocols, or
            `output` holds the result of another command under the same name.
        UnknownModelError: There is no such card or folder.
        NoWeightsError: A card that nobody has trained yet.
        DataError: The data cannot be read.
    """
    names = (models,) if isinstance(models, str) else tuple(models)
    found = find_protocol(protocol)
    if isinstance(found, TransferProtocol):
        unfit = {"more than one model": len(names) > 1, "samples": samples is not None, "full size": full_size}
        _refuse(f"{protocol} trains what it measures", unfit | {"cuda": device == "cuda"})
        return measure_transfer(
            names[0],
            found,
            data,
            split=split or "train",
            seeds=(0,) if seeds is None else seeds,
            pretrained=pretrained,
            output=output,
        )
    unfit = {"seeds": seeds is not None, "random initialisation": not pretrained}
    _refuse(f"{protocol} scores models that are trained already", unfit)
    return score_models(
        names,
        found,
        data,
        split=split,
        samples=SAMPLES if samples is None else samples,
        full_size=full_size,
        device=device,
        output=output,
    )


def measure_transfer(
    model: str,
    protocol: TransferProtocol,
    data: str | Path,
    *,
    split: str = "train",
    seeds: Sequence[int] = (0,),
    pretrained: bool = True,
    output: Path | None = None,
) -> Result:
    """Measures a pre-trained model by a protocol that trains something small on it.

    Args:
        model: What `rgbd3d.from_pretrained` takes: a card, a folder ("./final": a plain word is a card) or a Hub id.
        protocol: How.
        data: Source spec.
        split: Part of the source.
        seeds: One run for each.
        pretrained: False measures the same architecture from random initialisation.
        output: Folder of the result file, see `result_file`; it is written after every seed, with those so far, but
            never in place of more of them. The same command on the same weights, data and versions goes on there.

    Raises:
        ValueError: See `evaluate`, as for other errors.
    """
    check_seeds(seeds)
    card = _fitting_card(model, protocol)
    facts, options = protocol.facts(), ["--seeds", *map(str, seeds), *([] if pretrained else ["--random-init"])]
    command = _command([model], protocol.name, data, split, options)
    file = output and output / _file_name(card.name, protocol.name, pretrained, facts)
    before = _load_own(file, command)
    source = open_source(data, split=split)
    scored_on, measured_with = Data.of(source, split), versions("cpu")

    def result(runs: Sequence[dict[str, float]]) -> Result:
        return Result(
            model=card.name,
            checkpoints=(model,),
            protocol=protocol.name,
            facts=facts,
            pretrained=pretrained,
            seeds=tuple(seeds[: len(runs)]),
            runs=tuple(runs),
            data=scored_on,
            command=command,
            versions=measured_with,
            weights=_digests([card]) if pretrained else (),
        )

    runs = [] if before is None or before != result(before.runs) else list(before.runs)
    if runs:
        _log.warning("%s holds %d of %d seeds: they are not measured again", file, len(runs), len(seeds))
    for seed in seeds[len(runs) :]:
        runs.append(protocol.run(model, source, pretrained, seed))
        if file is not None and (before is None or len(runs) >= len(before.runs)):  # hours may lie between two seeds
            file.parent.mkdir(parents=True, exist_ok=True)
            result(runs).save(file)
    return result(runs)


def score_models(
    models: Sequence[str],
    protocol: ScoredProtocol[Any],
    data: str | Path,
    *,
    split: str | None = None,
    samples: int = SAMPLES,
    full_size: bool = False,
    device: str = "auto",
    output: Path | None = None,
) -> Result:
    """Scores a model for a task.

    Args:
        models: What `rgbd3d.from_pretrained` takes: a card, a folder ("./final": a plain word is a card) or a Hub id;
            several if the same recipe was trained with several seeds. The result is one of all of them.
        protocol: How.
        data: Source spec.
        split: Part of the source; by default that of the protocol.
        samples: Frames on the page, which shows the first of the models.
        full_size: Show the model frames at their own size, rounded to the patch, not at that of its card.
        device: "cpu", "cuda" or "auto".
        output: Folder of the result file, and of a page with pictures and tables; see `result_file`.

    Raises:
        ValueError: See `evaluate`, as for other errors.
    """
    cards = [_fitting_card(model, protocol) for model in models]
    check_same_recipe(cards)
    split = split or protocol.frames.split
    pretrained = cards[0].starts_trained
    facts = protocol.facts() | ({"input": OWN_SIZE} if full_size else {})
    command = _command(models, protocol.name, data, split, ["--full-size"] if full_size else [])
    file = output and output / _file_name(cards[0].name, protocol.name, pretrained, facts)
    where = find_device(device)
    _load_own(file, command)
    protocol.frames.check_address(data, split)
    source = open_source(data, split=split)
    protocol.frames.check(source)  # before any weights are loaded
    look: Look[Any] | None = None
    meters: list[Meter] = []
    for model in models:
        network: Any = registry.from_pretrained(model)
        network.to(where)
        predict = partial(network.predict, size="frame" if full_size else protocol.input_size)
        if file is not None and look is None:
            look = LOOKS[protocol.task](protocol, len(source) - protocol.frames.first, samples)
            meters.append(score(protocol, source, predict, watch=look.watch))
        else:
            meters.append(score(protocol, source, predict))
    result = Result(
        model=cards[0].name,
        checkpoints=tuple(models),
        protocol=protocol.name,
        facts=facts,
        pretrained=pretrained,
        seeds=tuple(card.train.seed for card in cards),
        runs=comparable([results(protocol, source, meter) for meter in meters]),
        data=Data.of(source, split),
        command=command,
        versions=versions(where),
        weights=_digests(cards),
    )
    if file is not None and look is not None:
        write_page(result, look, meters[0], file.with_suffix(""))
        result.save(file)
    return result


def result_file(result: Result, folder: Path) -> Path:
    """Where a result is in a folder of results; the page is in the folder of the same name without .json."""
    return folder / _file_name(result.model, result.protocol, result.pretrained, result.facts)


def _file_name(model: str, protocol: str, pretrained: bool, facts: Mapping[str, str]) -> str:
    size = ["full-size"] if facts.get("input") == OWN_SIZE else []
    return ".".join([model, protocol.replace("/", "-"), "pretrained" if pretrained else "random", *size, "json"])


def _load_own(file: Path | None, command: str) -> Result | None:
    """What the same command wrote before; refuses to lose what another one did (other seeds, a folder's namesake)."""
    if file is None or not file.is_file():
        return None
    before = Result.load(file)
    if before.command != command:
        raise ValueError(
            f"{file} is the result of another command, {before.command!r}; write to another folder, or delete it"
        )
    return before


def _digests(cards: Sequence[Card]) -> tuple[str, ...]:
    return tuple(pins[BACKBONE_FILE].sha256 for card in cards if (pins := card.weights.files))


def _fitting_card(model: str, protocol: TransferProtocol | ScoredProtocol[Any]) -> Card:
    card = find_card(model)
    check_fits(card, protocol)
    return card


def _refuse(reason: str, options: dict[str, bool]) -> None:
    given = [name for name, is_given in options.items() if is_given]
    if given:
        raise ValueError(f"{reason}: {' and '.join(given)} cannot be asked for")


def _command(models: Sequence[str], protocol: str, data: str | Path, split: str, options: Sequence[str]) -> str:
    words = ["rgbd3d", "evaluate", *models, "--protocol", protocol, "--data", str(data), "--split", split, *options]
    return shlex.join(words)
