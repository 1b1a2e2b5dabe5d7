"""What a choice changes in checking, training and scoring, apart from places that merely repeat the settings."""

import functools
import hashlib
from dataclasses import dataclass, field

import odd_screens
import torch

import bagscope
from bagscope.engine import loop, states
from bagscope.engine.card_file import load_card
from bagscope.engine.tasks import check_of, stages_of
from bagscope.errors import BagscopeError
from bagscope.images.task import ImagesTask
from bagscope.settings.jobs import READ_JOBS, make_job
from bagscope.volumes.rows import shapes_of_row
from toys import Listener

CHECK, PIXELS, TRAIN, SCORE = "check", "pixels", "train", "score"
TRAIN_AND_SCORE, SELF_TRAIN = "train_and_score", "self_train"
# Tables, maps and masks; not run.json, which names the settings, nor what a later run takes over.
_RESULTS = (".csv", ".tif", ".geojson")
# Results of training that are in the card alone.
_LEARNED = ("weights_sha256", "thresholds", "calibration", "cells", "limits", "lattice", "scaling", "channels", "scale")


@dataclass(frozen=True)
class Change:
    """Another value of a setting, and where its effect is looked for.

    given : other settings, in both runs. screen : a function of `odd_screens`. stage : what is compared.
    """

    value: object
    stage: str = TRAIN
    screen: str = "toy"
    given: dict = field(default_factory=dict)


class _Lent:
    """A decoding worker that goes on when somebody has done with it: each takes a while to start."""

    def __init__(self, worker):
        self._worker = worker

    def __getattr__(self, name):
        return getattr(self._worker, name)

    def __enter__(self):
        return self._worker

    def __exit__(self, *error):
        pass

    def close(self):
        pass


class Laboratory:
    """Runs stages of a task on tiny screens and returns what came of it; equal runs are done once.

    base : the settings of every run. model : screen and further settings of the model that scores.
    """

    def __init__(self, task, base, model, folder, worker, monkeypatch):
        self.task, self.base, self._model, self.folder = task, base, model, folder
        self._outcomes, self._screens, self._runs, self._saved = {}, {}, 0, []
        self._monkeypatch = monkeypatch
        for module in ("engine.stages", "engine.scoring", "engine.check", "blocks.check", "volumes.rows"):
            monkeypatch.setattr(f"bagscope.{module}.DecodingWorker", lambda limit: _Lent(worker))
        monkeypatch.setattr("os.fsync", lambda handle: None)
        monkeypatch.setattr("bagscope.images.pseudo_labels.FIELDS_FOR_MAPS", 1)
        # Shapes depend on the volume and its section alone: measured once.
        shapes = functools.cache(shapes_of_row)
        for stage in ("fit", "score"):
            monkeypatch.setattr(f"bagscope.volumes.{stage}.shapes_of_row", shapes)
        save = states.save
        monkeypatch.setattr(states, "save", lambda at, state, step: (self._saved.append(step), save(at, state, step)))

    def outcome(self, change, choices, stage):
        """Return what a stage gives with these choices on the screen of a change."""
        key = (stage, change.screen, repr(sorted(choices.items())), repr(sorted(change.given.items())))
        if key not in self._outcomes:
            try:
                self._outcomes[key] = getattr(self, f"_{stage}")(self.screen(change.screen), change.given | choices)
            except BagscopeError as error:
                self._outcomes[key] = {"refused": (error.problem.code, error.problem.cause)}
        return self._outcomes[key]

    def screen(self, name):
        """Draw a screen, once."""
        if name not in self._screens:
            self._screens[name] = getattr(odd_screens, name)(self.folder / name)
        return self._screens[name]

    def model(self):
        """Train the model that scores, once."""
        out, (screen, choices) = self.folder / "model", self._model
        return bagscope.load(out) if out.exists() else self._trained(self.screen(screen), out, choices)

    def _training(self, screen, choices):
        """All settings of a training; a table of shares is beside the screen that needs one."""
        shares = screen.parent / "p.csv"
        return self.base | ({"proportions": str(shares)} if shares.exists() else {}) | choices

    def _trained(self, screen, out, choices):
        self._saved.clear()
        self._heard = Listener()
        return bagscope.train(screen, out, task=self.task, events=self._heard, **self._training(screen, choices))

    def _new(self):
        self._runs += 1
        return self.folder / f"run{self._runs}"

    def _check(self, screen, choices, pixels=False):
        report = bagscope.check(screen, task=self.task, pixels=pixels, **self._training(screen, choices))
        return _reported(report)

    def _pixels(self, screen, choices):
        return self._check(screen, choices, pixels=True)

    def _train(self, screen, choices):
        out = self._new()
        card = self._trained(screen, out, choices).card.model_dump()
        files = {path.name: _digest(path) for path in out.glob("*.csv")}
        learned = {name: card[name] for name in _LEARNED if name in card}
        return {**learned, "files": files, "saved": tuple(self._saved)}

    def _model_check(self, screen, choices, pixels=False):
        card = load_card(self.model().folder)
        job = make_job(READ_JOBS[self.task], None, choices)
        return _reported(check_of(self.task).check(screen, stages_of(self.task).prepare(job, card), card, pixels))

    def _model_pixels(self, screen, choices):
        return self._model_check(screen, choices, pixels=True)

    def _score(self, screen, choices, model=None):
        out, events = self._new(), Listener()
        (model or self.model()).score(screen, out, events=events, **choices)
        files = sorted(path for path in out.rglob("*") if path.suffix in _RESULTS and "parts" not in path.parts)
        return {str(path.relative_to(out)): _digest(path) for path in files} | {"warnings": events.warned}

    def _self_train(self, screen, choices):
        """Train the second time from a network that tells cells apart, which a few steps would not give."""

        fit = loop.fit

        def drawn(task, *arguments):
            if not isinstance(task, ImagesTask):
                return fit(task, *arguments)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = task.network()
                layer = network.body.classifier
                torch.nn.init.normal_(layer.weight, std=0.03)
                with torch.no_grad():
                    layer.weight[1], layer.bias[:] = -layer.weight[0], torch.tensor([1.3, -1.3])
            return loop.Fitted(network.eval(), [{"step": 0.0}], 0, False)

        with self._monkeypatch.context() as patch:
            patch.setattr(loop, "fit", drawn)
            outcome = self._train(screen, choices)
        return outcome | {"rounds": sum(text.startswith("self-training on") for text in self._heard.said)}

    def _train_and_score(self, screen, choices):
        return self._score(screen, {}, self._trained(screen, self._new(), choices))


def _reported(report):
    problems = [(problem.severity, problem.code, problem.cause, problem.row) for problem in report.problems]
    return {"problems": problems, "notes": report.notes, "usable": sorted(report.headers)}


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
