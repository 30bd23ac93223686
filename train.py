"""Train a dynamic scene: python train.py -s DATA --configs arguments/<family>/<scene>.py --expname NAME"""

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from arguments import parse_train_args
from arguments.settings import Settings
from gaussian_renderer import render
from scene import Scene, load_scene
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from scene.methods import MethodBase, make_method
from scoring.evaluate import evaluate, spread
from training.checkpoint import Checkpoints, fingerprint
from training.logger import Logger
from training.memory import expected_memory
from training.numerics import from_model_to_picture, gradients, parameters, require_finite
from training.optimizers import Optimizers
from training.run import StopRequest, begin_run, open_model_folder
from training.stage import Stage
from utils.devices import choose_device, describe
from utils.errors import run_command

N_TEST_VIEWS = 17  # views per split that are scored while training
CHECK_EVERY = 10  # steps between looks for NaN in the model, which a finite loss may hide
# The same for the loss: a look at it waits for a GPU, which is then idle until the next kernel.
CHECK_LOSS_EVERY = {"cpu": 1, "cuda": CHECK_EVERY}


@dataclass(frozen=True)
class Run:
    """What every stage of one training run shares."""

    settings: Settings
    scene: Scene
    method: MethodBase
    loader: FrameLoader
    checkpoints: Checkpoints
    logger: Logger
    stop: StopRequest


def train(settings: Settings) -> Path:
    """Train all stages of the method on the scene; returns the folder of the last model."""
    device = choose_device(settings.run.device)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = make_method(scene, settings, device)
    stages = method.stages()
    with open_model_folder(settings) as model_path:
        names = [stage.name for stage in stages]
        checkpoints = Checkpoints(model_path, names, settings.run, fingerprint(scene.train))
        logger = Logger(model_path, quiet=settings.run.quiet)
        folder = checkpoints.finished(stages[-1])
        if folder:
            logger.say(f"{folder}: this run is finished; --restart begins it anew")
            return folder
        bound = expected_memory(scene, method, stages, settings.run.cache_mb)
        logger.say(f"device: {describe(device)}")
        logger.say(str(bound))
        loader = FrameLoader(settings.run.cache_mb, device)
        loader.preload(scene.train + scene.test)
        begin_run(settings, model_path)
        with StopRequest() as stop:
            run = Run(settings, scene, method, loader, checkpoints, logger, stop)
            for stage in stages:
                train_stage(stage, run)
        last = stages[-1]
        folder = checkpoints.finished(last) or checkpoints.export(last, last.iterations, method)
        logger.close()
        logger.say(bound.beside_peak())
        logger.say(f"done: {folder}; next: python render.py --model_path {model_path}")
    return folder


def train_stage(stage: Stage, run: Run) -> None:
    """Run the steps of one stage that are not done yet. Steps count from 1."""
    method, logger, options = run.method, run.logger, run.settings.run
    start, moments = run.checkpoints.resume(stage, method)
    torch.autograd.set_detect_anomaly(options.detect_anomaly)
    if start >= stage.iterations:
        return
    stage.begin()
    optimizers = Optimizers(stage.params, moments)
    batches = stage.sampler(stage, run.scene.train, options.seed, start)
    for step in logger.steps(stage.name, start, stage.iterations):
        method.on_step(step)
        optimizers.set_learning_rates(step)
        background = stage.background(step)
        frames = [method.prepare(run.loader.load(frame, background)) for frame in next(batches)]
        renders = [render(f.camera, stage.pose(f), f.background) for f in frames]
        losses = {term.name: term(renders, frames, step) for term in stage.losses}
        if step % CHECK_LOSS_EVERY[run.loader.device.type] == 0:
            causes = partial(from_model_to_picture, method, frames, renders)
            require_finite(losses, f"the loss at {stage.name} step {step}", causes)
        sum(losses.values()).backward()
        if 0 <= options.debug_from < step:
            require_finite(gradients(method), f"the gradient at {stage.name} step {step}")
        stage.strategy.observe(renders)
        stage.strategy.update(step, method.table, optimizers)  # parity: 3DGS resizes, then steps
        optimizers.step(stage.drawn(renders, len(method.table)))
        if step % CHECK_EVERY == 0:
            require_finite(parameters(method), f"the model after {stage.name} step {step}")
        logger.step(stage.name, step, losses, renders, frames)
        last = step == stage.iterations
        if last or step in options.test_iterations:
            score(stage, step, run)
        if step in options.save_iterations:
            run.checkpoints.export(stage, step, method)
        stopping = run.stop.requested
        if last or stopping or run.checkpoints.due(step):
            run.checkpoints.save(stage, step, method, optimizers)
        if stopping:
            run.stop.leave(stage.name, step)


def score(stage: Stage, step: int, run: Run) -> None:
    """Scores and a contact sheet of some train and test views."""

    def pose(frame: Frame) -> Gaussians:
        return stage.pose(run.method.prepare(frame))

    for split in ("train", "test"):
        frames = spread(run.scene.split(split), N_TEST_VIEWS)
        if not frames:
            continue
        found = evaluate(pose, frames, run.loader, stage.background(step), run.scene.regions)
        run.logger.evaluation(stage.name, step, split, found)


if __name__ == "__main__":
    settings = run_command(lambda: parse_train_args(sys.argv[1:]), debug="--debug" in sys.argv)
    run_command(lambda: train(settings), debug=settings.run.debug)
