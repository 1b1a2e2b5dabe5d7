"""How large a measure is: the size that counts, and the smallest that still runs every line."""

from __future__ import annotations

from dataclasses import dataclass

from bagscope.settings.sections import TrainingSection

_DEFAULT = TrainingSection()


@dataclass(frozen=True)
class Size:
    """Sizes of all measures.

    rounds : how often each side of a short measure runs. runs : the same for whole trainings.
    batch, crop, steps : of a training. rows, columns, field_px : of a simulated plate, one field a well.
    reference : images and edge of the reference convolution. few, many, small_px : fields whose memory
    is compared, and their edge. wells : of the small and of the large report. side : of a volume.
    slide_px : of a large image.
    """

    rounds: int
    runs: int
    batch: int
    crop: int
    steps: int
    rows: int
    columns: int
    field_px: int
    reference: tuple[int, int]
    few: int
    many: int
    small_px: int
    wells: tuple[int, int]
    side: int
    slide_px: int


FULL = Size(
    rounds=15,
    runs=5,
    batch=_DEFAULT.batch,
    crop=_DEFAULT.crop,
    steps=60,
    rows=4,
    columns=6,
    field_px=640,
    # Where oneDNN is within 5 % of its best, of 1 to 16 images of 16 to 64 pixels.
    reference=(16, 32),
    few=10,
    many=1000,
    small_px=160,
    wells=(96, 3840),
    side=64,
    slide_px=8192,
)
SMALLEST = Size(
    rounds=1,
    runs=1,
    batch=2,
    crop=64,
    steps=2,
    rows=2,
    columns=5,
    field_px=96,
    reference=(1, 4),
    few=2,
    many=4,
    small_px=64,
    wells=(4, 12),
    side=8,
    slide_px=600,
)
