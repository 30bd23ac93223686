"""Train a dynamic scene: python train.py -s DATA --configs arguments/<family>/<scene>.py -m OUT"""

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import sys
from pathlib import Path

import torch

from arguments import parse_train_args
from arguments.settings import Settings
from gaussian_renderer import render
from scene import load_scene
from scene.datasets._doubts import doubts
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import make_method, require_needs, with_needs
from training.checkpoint import Checkpoints
from training.fingerprint import fingerprint
from training.logger import Logger
from training.memory import expected_memory
from training.model_folder import begin_run, open_model_folder
from training.numerics import Watch
from training.optimizers import Optimizers
from training.run import Run, StopRequest, finished_before
from training.stage import Stage
from utils.devices import choose_device, describe
from utils.errors import run_command
from viewer.following import following


def train(settings: Settings) -> Path:
    """Train all stages of the method on the scene; returns the folder of the last model."""
    device = choose_device(settings.run.device)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    require_needs(scene, settings)
    facts = SceneFacts.from_scene(scene, settings.dataset)
    method = make_method(facts, settings, device, scene.points)
    stages = method.stages()
    with open_model_folder(settings) as model_path:
        checkpoints = Checkpoints(model_path, stages, settings.run, fingerprint(scene.train))
        logger = Logger(model_path, quiet=settings.run.quiet)
        folder = checkpoints.finished(stages[-1])
        if folder:
            return finished_before(folder, stages[-1], logger)
        bound = expected_memory(scene, method, stages, settings.run.cache_mb)
        warnings = [f"doubt: {doubt}" for doubt in doubts(scene)]
        for line in (*warnings, f"device: {describe(device)}", str(bound)):
            logger.say(line)
        loader = FrameLoader(settings.run.cache_mb, device)
        loader.preload(scene.train + scene.test)
        watched = following(settings.run, facts, method, scene, device)
        with watched as viewer, StopRequest() as stop:  # a taken port is told before --restart acts
            begin_run(settings, model_path)
            scene, said = with_needs(scene, settings, model_path)
            if said:
                logger.say(said)
            run = Run(settings, scene, facts, method, loader, checkpoints, logger, stop, viewer)
            for stage in stages:
                train_stage(stage, run)
        return run.end(stages[-1], bound)


def train_stage(stage: Stage, run: Run) -> None:
    """Run the steps of one stage that are not done yet. Steps count from 1."""
    method, logger, options = run.method, run.logger, run.settings.run
    start, moments = run.checkpoints.resume(stage, method)
    torch.autograd.set_detect_anomaly(options.detect_anomaly)
    if start >= stage.iterations:
        return
    if start == 0 and (said := stage.begin()):
        logger.note(stage.name, start, said)
    if not stage.needed():
        return
    optimizers = Optimizers(stage.params, moments)
    watch = Watch(method, stage.name, run.loader.device, options.debug_from)
    batches = run.loader.ahead(stage.sampler(run.scene.train, stage.name, options.seed, start))
    for step in logger.steps(stage.name, start, stage.iterations):
        method.on_step(step)
        optimizers.set_learning_rates(step)
        frames = [method.prepare(run.loader.load(f, method.background)) for f in next(batches)]
        shown = frames if stage.pose else []
        renders = [
            render(f.camera, gaussians, f.background, antialiased=method.antialiased)
            for f, gaussians in zip(shown, stage.posed(shown), strict=True)
        ]
        losses = {term.name: term(renders, frames, step) for term in stage.losses}
        watch.losses(step, losses, frames, renders)
        learned = [loss for loss in losses.values() if loss.requires_grad]
        if learned:  # a step whose views have no picture may have nothing to learn
            torch.autograd.backward(learned)
        losses |= {name: pull() for name, pull in stage.pulls.items()}
        watch.gradients(step)
        with torch.no_grad():
            stage.look(renders, frames, step)
        if renders:
            stage.strategy.observe(renders)
        stage.strategy.update(step, method.table, optimizers)  # parity: 3DGS resizes, then steps
        optimizers.step(stage.drawn(renders))
        watch.model(step)
        logger.step(stage.name, step, losses, renders, frames, len(method.table))
        run.viewer.after(stage, step, logger.shown, run.stop)
        last = step == stage.iterations
        if last or step in options.test_iterations:
            run.score(stage, step)
        if step in options.save_iterations:
            run.checkpoints.export(stage, step, method, run.facts)
        stopping = run.stop.requested
        if last or stopping or run.checkpoints.due(step):
            run.checkpoints.save(stage, step, method, optimizers)
        if stopping:
            run.stop.leave(stage.name, step)


if __name__ == "__main__":
    started()
    settings = run_command(lambda: parse_train_args(sys.argv[1:]), debug="--debug" in sys.argv)
    run_command(lambda: train(settings), debug=settings.run.debug)
