"""The verb: card of a task -> weights and numbers, for one seed or several."""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from accelerate import PartialState
from transformers import TrainingArguments

from rgbd3d.card_weights import initial_weights
from rgbd3d.cards import Card, Evaluation, ForeignBackbone, Measured, with_overrides
from rgbd3d.downstream.foreign import on_backbone
from rgbd3d.downstream.network import TaskNetwork
from rgbd3d.downstream.start import initial_network, load_decoder, load_start
from rgbd3d.evaluation.result import Data, Result, comparable, versions
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.seeding import check_seeds
from rgbd3d.tasks import PretrainedDecoder
from rgbd3d.training.batches import augmentation
from rgbd3d.training.curves import CURVE, run_curve, write_curve
from rgbd3d.training.examination import Evaluated, Examination
from rgbd3d.training.exported_card import Given, exported_card
from rgbd3d.training.recipe import Device, Pace, evaluation_steps, run_identity, total_steps, training_arguments
from rgbd3d.training.resume import Identity, ResumeError, check_same_run, last_marked
from rgbd3d.training.run import FINAL, Run, find_checkpoint, record_start, reproducible, train, weights_digest
from rgbd3d.training.start import Loaded, open_start
from rgbd3d.training.task_frames import TaskFrames, open_task_frames
from rgbd3d.training.task_loss import TaskLoss

BEST = "best"
"""Folder of the model with the best number, beside `FINAL`, the one after the last step."""

RESULT = "result.json"
"""Numbers of the models after the last step, over all seeds; `rgbd3d compare` reads it."""


@dataclass(frozen=True)
class Trained:
    """What came out of one seed.

    Attributes:
        seed: Of head, order and augmentation; of the backbone too without pre-training.
        folder: Of the model after the last step.
        card: Of that model.
        final: Its numbers.
        best: Best numbers on the way.
    """

    seed: int
    folder: Path
    card: Card
    final: Evaluated
    best: Evaluated


def finetune(
    card: Card,
    data: str | None,
    output: str | Path,
    overrides: Sequence[str] = (),
    *,
    seeds: Sequence[int] | None = None,
    workers: int = 0,
    resume: bool = True,
    device: Device = "auto",
    start: str | Path | None = None,
    backbone: str | None = None,
    pace: Pace | None = None,
    recipe: str | None = None,
) -> Result | None:
    """Fine-tunes a card by its recipe, or continues runs that were stopped, exports the models and scores them.

    The card's protocol scores the network before the first step, every `evaluation.every` epochs and after the last
    step. However often a run is killed, weights and numbers are the same, bit for bit, on the same machine and device
    with the same torch. Under torchrun it runs in all processes; batches and scored frames are divided among them.

    Args:
        card: Recipe of a task.
        data: Data specification of `rgbd3d.data.sources.open_source`, with what is trained on and what is scored; None
            renders the card's synthrooms.
        output: Folder of the run: checkpoints, log.jsonl, evaluations.jsonl, loss.png, curve.txt, train_state.json,
            result.json and the models, best/ and final/. With `seeds` these are in seed-<seed>/, but for result.json.
        overrides: `train.max_steps=100` and the like, applied to the card.
        seeds: One run for each, in place of the card's own seed. Those that are finished are not run again.
        workers: Loader processes; 0 loads in this process. Does not change the result.
        resume: Continue from the newest whole checkpoint of a run; False refuses a folder that has one.
        device: "auto" takes a GPU if there is one.
        start: Model whose backbone to start from, instead of the card's `init`: what `rgbd3d.from_pretrained` takes. A
            head that is the pre-trained decoder starts from its decoder.
        backbone: One of timm or transformers, instead of the card's, its `init` and `start`: `[random:]LIBRARY:MODEL`
            with an optional `@COMMIT` (`rgbd3d.downstream.foreign.on_backbone`). The overrides come after it.
        pace: Logging and saving intervals.
        recipe: What was typed for the card, for the recorded command: a file, or its name.

    Returns:
        Numbers of the models after the last step; None with `pace.stop_after`, if the recipe goes on.

    Raises:
        CardError: A wrong override.
        NoWeightsError: The card starts from one that has no weights yet, or from weights that have to be given.
        ValueError: A card of pre-training, or the data, the protocol, the number of processes or the steps do not fit
            the recipe; or no such backbone, or one that does not fit or brings its own weights beside a `start`.
        UnknownModelError: There is no such model to start from.
        HubError: The Hub does not give what a backbone of another library needs.
        DataError: The data cannot be read, or a frame is damaged or has labels out of range.
        ResumeError: A folder holds another run.
        NonFiniteError: The loss or a gradient became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM, after saving.
    """
    recipe = recipe or card.name
    if backbone is not None:
        card = on_backbone(card, backbone)
    original, card = card, with_overrides(card, overrides)
    augmentation(card)  # a wrong name is told before any frame is read
    if start is not None and isinstance(card.backbone, ForeignBackbone):
        raise ValueError(f"{card.backbone.label} brings its own weights: there can be no other model to start from")
    takes_decoder = isinstance(getattr(card.objective, "head", None), PretrainedDecoder)
    loaded = None if start is None else open_start(start, with_decoder=takes_decoder)
    if loaded is None:
        initial_weights(card)  # missing ones are told before any frame is read
    call = _Call(
        original=original,
        card=card,
        data=data,
        output=Path(output),
        overrides=tuple(overrides),
        seeds=seeds,
        workers=workers,
        resume=resume,
        device=device,
        start=start,
        loaded=loaded,
        foreign=original.backbone.spec if backbone and isinstance(original.backbone, ForeignBackbone) else None,
        brought=_brought(card),
        pace=pace or Pace(),
        recipe=recipe,
    )
    with reproducible(card.train.threads):
        args = training_arguments(card.train, call.output, call.pace, device)
        with args.main_process_first(desc="rendering"):
            frames = open_task_frames(card, data)
        _refuse_other_runs(call, frames, args)
        PartialState().wait_for_everyone()  # before one of them makes a folder
        trained = [outcome for seed in call.each_seed() if (outcome := _train_one(call, frames, seed)) is not None]
        return _finish(call, frames, trained, args.device.type) if len(trained) == len(call.each_seed()) else None


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What `finetune` was asked for; see there."""

    original: Card  # before overrides
    card: Card
    data: str | None
    output: Path
    overrides: tuple[str, ...]
    seeds: Sequence[int] | None
    workers: int
    resume: bool
    device: Device
    start: str | Path | None
    loaded: Loaded | None  # of `start`
    foreign: str | None  # the backbone that was asked for, with its commit
    brought: Identity  # by it
    pace: Pace
    recipe: str

    def __post_init__(self) -> None:
        if self.seeds is not None:
            check_seeds(self.seeds)

    def each_seed(self) -> list[int]:
        return [self.card.train.seed] if self.seeds is None else list(self.seeds)

    def of_seed(self, seed: int) -> tuple[Card, Path, tuple[str, ...]]:
        """Card, folder and overrides of one run."""
        if self.seeds is None:
            return self.card, self.output, self.overrides
        own = (f"train.seed={seed}",) if seed != self.card.train.seed else ()
        return with_overrides(self.card, own), self.output / f"seed-{seed}", (*self.overrides, *own)

    @property
    def start_digest(self) -> str | None:
        return self.brought.get("start_digest") if self.given is None else self.given.start.digest

    @property
    def given(self) -> Given | None:
        """What the exported card says of `start`."""
        return None if self.loaded is None else self.loaded.given

    def command(self, seeds: Sequence[int] | None) -> str:
        """What to type to do it again, for some of the seeds; None if none were asked for."""
        words = ["rgbd3d", "finetune", self.recipe]
        words += [] if self.foreign is None else ["--backbone", self.foreign]
        words += [] if self.data is None else ["--data", self.data]
        words += [word for override in self.overrides for word in ("--set", override)]
        words += [] if self.start is None else ["--start", str(self.start)]
        words += [] if seeds is None else ["--seeds", *map(str, seeds)]
        return shlex.join([*words, "--output", str(self.output)])


def _train_one(call: _Call, frames: TaskFrames, seed: int) -> Trained | None:
    """Trains, or goes on, with one seed; None if that stops before the recipe does."""
    card, folder, overrides = call.of_seed(seed)
    args = training_arguments(card.train, folder, call.pace, call.device)
    args.max_steps = total_steps(card.train, len(frames.train))
    identity = _identity(call, card, frames, args)
    checkpoint = find_checkpoint(args, folder, identity, call.resume)
    network = _initial_network(card, call)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(card, frames.train, args, folder, identity, checkpoint, call.workers, call.pace)
    record_start(run, call.data, overrides)
    examination = _examination(run, network, frames)
    train(run, TaskLoss(network), f"fine-tuning, seed {seed}", examination)
    if run.stops_early:
        return None
    exported = exported_card(call.original, card, call.data, overrides, call.given)
    commands = call.command(None if call.seeds is None else [seed]), _evaluate_command(call, frames, [folder / BEST])
    return _export(run, network, examination, exported, *commands)


def _refuse_other_runs(call: _Call, frames: TaskFrames, args: TrainingArguments) -> None:
    """Refuses, before anything is trained, a folder with runs that differ in more than their seed.

    Raises:
        ResumeError: Names the differences.
    """
    matches = (re.fullmatch(r"seed-(\d+)", folder.name) for folder in call.output.glob("seed-*") if folder.is_dir())
    seeds = [int(match[1]) for match in matches if match]
    if seeds and call.seeds is None:
        raise ResumeError(f"{call.output} holds runs by --seeds; give --seeds, or choose another output folder")
    if call.seeds is not None and any(call.output.glob("checkpoint-*")):
        raise ResumeError(f"{call.output} holds a run without --seeds; choose another output folder")
    for seed in seeds:
        card, folder, _ = call.of_seed(seed)
        checkpoint = last_marked(folder)
        if checkpoint is None:
            continue
        check_same_run(checkpoint, _identity(call, card, frames, args))
        if not call.resume and seed in call.each_seed():
            raise ResumeError(f"{folder} holds a run at step {checkpoint.step}; remove it or choose another folder")


def _identity(call: _Call, card: Card, frames: TaskFrames, args: TrainingArguments) -> Identity:
    identity = run_identity(card, frames.train.digest(), call.start_digest, args.world_size)
    return identity | {"scored_digest": frames.scored.digest(), **call.brought}


def _brought(card: Card) -> Identity:
    """What another library decides about a run on its backbone: how pixels are normalised, and the weights' digest.

    Raises:
        ValueError: The backbone or the head does not fit, which is told before any frame is read.
        HubError: The Hub does not give it.
    """
    if not isinstance(card.backbone, ForeignBackbone):
        return {}
    network = initial_network(card)
    digest = weights_digest(network.backbone) if card.backbone.pretrained else None
    return {"preprocessing": asdict(network.preprocessing), "start_digest": digest}


def _initial_network(card: Card, call: _Call) -> TaskNetwork:
    """Network before its first step; on every machine and device the same."""
    if call.loaded is None:
        return initial_network(card)
    network = initial_network(replace(card, init=None, start=None))
    load_start(network, call.loaded.backbone.state_dict(), card, str(call.start))
    if call.loaded.decoder is not None:
        load_decoder(network, call.loaded.decoder.state_dict(), card, str(call.start))
    return network


def _examination(run: Run, network: TaskNetwork, frames: TaskFrames) -> Examination:
    evaluation = run.card.evaluation
    assert evaluation is not None, "`open_task_frames` refuses cards without"
    steps = evaluation_steps(run.card.train, len(run.source), evaluation.every, run.args.max_steps)
    return Examination(network, evaluation, frames.protocol, frames.scored, steps, run.output)


def _export(
    run: Run, network: TaskNetwork, examination: Examination, card: Card, command: str, command_of_best: str
) -> Trained:
    """Writes final/ and best/, each with its number in its card; the network ends with the weights of the best."""
    final, best = examination.found[-1], examination.best
    assert best is not None, "step 0 is always evaluated"
    if run.args.process_index == 0:
        save_pretrained_folder(network, _with_number(card, examination, final, command), run.output / FINAL)
        network.load_state_dict(examination.best_weights)
        chosen = f"Weights of step {best.step}, chosen on the frames that are scored: their number is too good."
        card_of_best = replace(card, departures=(*card.departures, chosen))
        save_pretrained_folder(
            network, _with_number(card_of_best, examination, best, command_of_best), run.output / BEST
        )
        write_curve(run_curve(run.output), run.output / CURVE)
    return Trained(card.train.seed, run.output / FINAL, card, final, best)


def _with_number(card: Card, examination: Examination, found: Evaluated, command: str) -> Card:
    evaluation, frames = examination.evaluation, examination.protocol.frames
    if not math.isfinite(examination.value(found)):
        return card  # there is no number
    measured = Measured(
        task=str(card.task),
        dataset=f"{frames.data_set}, {frames.split}",
        protocol=evaluation.protocol,
        metric=evaluation.metric,
        mean=examination.value(found),
        seeds=1,
        command=command,
    )
    return replace(card, measured=(measured,))


def _finish(call: _Call, frames: TaskFrames, trained: Sequence[Trained], device: str) -> Result:
    """Writes the result file and prints the numbers."""
    result = Result(
        model=call.card.name,
        checkpoints=tuple(str(run.folder) for run in trained),
        protocol=frames.protocol.name,
        facts=frames.protocol.facts(),
        pretrained=trained[0].card.starts_trained,
        seeds=tuple(run.seed for run in trained),
        runs=comparable([run.final.metrics for run in trained]),
        data=Data.of(frames.scored, frames.protocol.frames.split),
        command=call.command(call.seeds),
        versions=versions(device),
    )
    if PartialState().is_main_process:
        result.save(call.output / RESULT)
        evaluation = call.card.evaluation
        assert evaluation is not None
        print(f"\n{result}\n\n{table(trained, evaluation)}\n\nwritten: {call.output / RESULT}")
        command = _evaluate_command(call, frames, [run.folder for run in trained], call.output / "evaluation")
        print(f"next: {command}", flush=True)
    return result


def _evaluate_command(call: _Call, frames: TaskFrames, folders: Sequence[Path], output: Path | None = None) -> str:
    """What scores models again; with an output, it writes a page of pictures, tables and curves."""
    data = frames.scored.name if call.data is None else call.data
    asked = ["--protocol", frames.protocol.name, "--data", data, *([] if output is None else ["--output", str(output)])]
    return shlex.join(["rgbd3d", "evaluate", *map(str, folders), *asked])


def table(trained: Sequence[Trained], evaluation: Evaluation) -> str:
    """The deciding number of each seed after the last step, and the best on the way.

    The best is chosen on the frames that are scored, so it is too good: compare models after the last step.

    Args:
        trained: Runs.
        evaluation: Says which number decides.
    """
    rows = [("seed", f"{evaluation.metric} at the end", "best on the way", "at step")]
    last, best = ([getattr(run, what).metrics[evaluation.metric] for run in trained] for what in ("final", "best"))
    for run, end, top in zip(trained, last, best, strict=True):
        rows.append((str(run.seed), f"{end:.4g}", f"{top:.4g}", str(run.best.step)))
    if len(trained) > 1:
        rows.append(("mean", _mean(last), _mean(best), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)).rstrip() for row in rows)


def _mean(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "none"  # `stdev` refuses them
    return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"
