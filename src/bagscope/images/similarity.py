"""How images to be scored differ from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bagscope.engine.inputs import arrange, fields_of
from bagscope.errors import ImageReadError, Problem, Severity
from bagscope.files.reader import Header
from bagscope.images.card import ModelCard
from bagscope.ops import likeness
from bagscope.settings.sections import ImagesSection
from bagscope.tables.labels import unknown_labels
from bagscope.tables.spelling import some_lines
from bagscope.tables.table import Screen

WARN_ABOVE, REFUSED_FROM = 0.02, 0.5
# Some images of a plate are odd; when one in twenty is, the camera or the format is another.
UNLIKE_SHARE, UNLIKE_LEAST = 0.05, 2
# The largest differences say it; the others follow from them.
MOST_WORDS = 3


def before_scoring(
    card: ModelCard, screen: Screen, headers: Mapping[int, Header], images: ImagesSection, *, force: bool
) -> list[Problem]:
    """Compare channels, pixel sizes and labels with the model's.

    Parameters
    ----------
    force : a wrong pixel size is only said.
    """
    file = str(screen.path or "")
    problems = _channels(card, screen, headers, images, file)
    if not images.rescale:
        problems += _pixel_sizes(card, headers, images.pixel_um, file, force)
    problems += _reading(card, images, file)
    if images.channels and tuple(images.channels) != card.channels:
        cause = f"images.channels = {', '.join(images.channels)} is not used: the model has {', '.join(card.channels)}"
        problems.append(Problem("warn", "channels_not_used", cause, "Leave it out when scoring.", file))
    unknown = unknown_labels(screen.rows, card.classes)
    if unknown:
        counts = ", ".join(f"{name} ({count} rows)" for name, count in list(unknown.items())[:5])
        cause = f"labels that the model does not know: {counts}; it knows {', '.join(card.classes)}"
        problems.append(
            Problem("warn", "unknown_label", cause, "They are left out of comparisons.", file, None, "label")
        )
    return problems


def _channels(
    card: ModelCard, screen: Screen, headers: Mapping[int, Header], images: ImagesSection, file: str
) -> list[Problem]:
    """List fields without the model's channels, refuse when none has them; say what is put in another order."""
    fields, lines = fields_of(screen, images), screen.rows["row"].tolist()
    misfits: list[Problem] = []
    moved: dict[str, list[int]] = {}
    wanted = ", ".join(card.channels)
    for at, header in headers.items():
        try:
            field, order = arrange(fields[at], header, card.channels)
        except ImageReadError as error:
            misfits.append(replace(error.problem, severity="list", file=file, row=lines[at], column="image"))
            continue
        names = field.channels or header.channel_names
        if order is not None and order != sorted(order):
            moved.setdefault(f"channels {', '.join(names)} are put in the model's order, {wanted}", []).append(
                lines[at]
            )
        elif not names and not all(name.startswith("channel ") for name in card.channels):
            moved.setdefault(f"channels without names are taken as {wanted}, in this order", []).append(lines[at])
    if misfits and len(misfits) == len(headers):
        return [replace(misfits[0], severity="refuse", row=None)]
    fix = "Make sure that this is what they show."
    said = [Problem("warn", "channel_order", f"{cause} ({some_lines(at)})", fix, file) for cause, at in moved.items()]
    return [*misfits, *said]


def _pixel_sizes(
    card: ModelCard, headers: Mapping[int, Header], pixel_um: float, file: str, force: bool
) -> list[Problem]:
    known = [pixel_um or header.pixel_um for header in headers.values()]
    sizes = np.array([um for um in known if um])
    trained = card.scale.pixel_um
    if not trained or not len(sizes):
        return []
    off = sizes[np.argmax(np.abs(np.log(sizes / trained)))]
    change = max(off / trained, trained / off) - 1
    if change <= WARN_ABOVE:
        return []
    cause = f"pixels of {off:g} um, the model was trained on {trained:g} um"
    fix = "Rescale with --set images.rescale=true, or go on as it is with --set table.force=true."
    severity: Severity = "refuse" if change > REFUSED_FROM and not force else "warn"
    return [Problem(severity, "pixel_size", cause, fix, file)]


def _reading(card: ModelCard, images: ImagesSection, file: str) -> list[Problem]:
    """Say where the settings take other planes of a file than those of the training did."""
    if card.reading is None:
        return []
    then = card.reading.model_dump()
    other = [f"images.{name} was {old}, is {getattr(images, name)}" for name, old in then.items()
             if getattr(images, name) != old]  # fmt: skip
    if not other:
        return []
    fix = "Read them as in training, with --set, unless the files themselves differ."
    return [
        Problem("warn", "other_planes", f"images are read otherwise than in training: {'; '.join(other)}", fix, file)
    ]


def unlike(card: ModelCard, pixels: np.ndarray) -> str:
    """Say in words by what an image differs from those of training; "" when it does not, or nobody knows.

    Parameters
    ----------
    pixels : (C, H, W).
    """
    if card.likeness is None:
        return ""
    found = likeness.appearance(pixels, card.intensity)
    told = likeness.differences(found, np.array(card.likeness.low), np.array(card.likeness.high), card.channels)
    return "; ".join(told[:MOST_WORDS])


def after_scoring(count: int, scored: int, file: str) -> list[Problem]:
    """Warn when several images, and more than one in twenty, look unlike the training images."""
    if count < UNLIKE_LEAST or count <= UNLIKE_SHARE * scored:
        return []
    cause = f"{count} of {scored} images look unlike those of training; column unlike of images says by what"
    fix = "Check focus, exposure, bit depth and channels; scores of unlike images mean little."
    return [Problem("warn", "unlike_images", cause, fix, file)]
