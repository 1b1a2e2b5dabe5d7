"""What the verbs about an expert's table call once their options are read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bagscope.blocks.estimate_shares import Estimates, read_filled, summary_lines
from bagscope.engine.card_file import load_card
from bagscope.errors import SettingsError
from bagscope.settings.jobs import BlockSampleJob, ReadJob, make_job

if TYPE_CHECKING:
    from bagscope.blocks.coarse_from_model import TileBoxes
    from bagscope.blocks.sample_blocks import Sampled
    from bagscope.cli.console import Console


def sample_table(
    table: Path,
    out: Path,
    fine: str | None,
    per_class: int,
    coarse: str | None,
    context: int,
    more: Path | None,
    show_classes: bool,
    config: Path | None,
    given: dict[str, Any],
    overwrite: bool,
    console: Console,
) -> Sampled:
    """Draw blocks of a table, and write sheet and form."""
    # Here, since reading a form needs neither pictures nor torch.
    from bagscope.blocks.draw_blocks import Request
    from bagscope.blocks.sample_blocks import sample_blocks
    from bagscope.engine.run import Target
    from bagscope.report import block_sheet

    job: Any = make_job(BlockSampleJob, config, given)
    request = Request(
        fine=_listed(fine),
        per_class=per_class,
        only=_listed(coarse),
        context=context,
        shows_classes=show_classes,
        more=more,
        seed=job.seed,
    )
    return sample_blocks(table, Target(out, overwrite=overwrite), request, job, block_sheet, console)


def read_form_into(form: Path, out: Path, console: Console) -> tuple[list[str], dict[str, Any], list[str]]:
    """Read a filled form and write its table; return lines for people, values for programs, and what to do next."""
    found = read_filled(form, out)
    for problem in found.problems:
        console.warn(str(problem))
    console.say(f"{found.blocks} blocks are filled in, {found.empty} are empty and left out")
    values = {
        "table": str(out),
        "blocks": found.blocks,
        "empty": found.empty,
        "classes": _values(found),
        "explained": dict(zip(found.table.fine, found.table.explained({}).tolist(), strict=True)),
        "more": {need.coarse: {"why": need.why, "blocks": need.blocks} for need in found.needs},
        "warnings": [str(problem) for problem in found.problems],
    }
    return summary_lines(found), values, _following(found, form, out)


def box_table(
    model: Path, table: Path, out: Path, size: int, name: str, given: dict[str, Any], overwrite: bool, console: Console
) -> TileBoxes:
    """Judge tiles of a table's images by a model of images; write boxes and a table that names them."""
    from bagscope.api import load
    from bagscope.blocks.coarse_from_model import Tile, box_tiles
    from bagscope.engine.run import Target

    job = make_job(ReadJob, None, given)
    if load_card(model).task != "images":
        cause = "this model does not classify whole images"
        raise SettingsError(cause, "Name a model of the task images.", code="other_task", file=model)
    loaded = load(model, device=job.compute.device)
    return box_tiles(loaded, table, Target(out, overwrite=overwrite), Tile(size, name), job, console)


def _values(found: Estimates) -> dict[str, dict[str, dict[str, float]]]:
    table = found.table
    ends = {"mean": found.mean, "sd": found.sd}
    return {
        coarse: {
            fine: {"n": int(table.n[k, c])}
            | {
                f"{name}{end}": float(value[k, c])
                for name, one in ends.items()
                for end, value in (("", one.estimate), ("_low", one.low), ("_high", one.high))
            }
            for c, fine in enumerate(table.fine)
        }
        for k, coarse in enumerate(table.coarse)
    }


def _following(found: Estimates, form: Path, out: Path) -> list[str]:
    train = f"bagscope train TABLE -o model --task blocks --proportions {shlex.quote(str(out))}"
    if any(need.coarse not in found.table.coarse for need in found.needs):
        train += " --set blocks.unknown=leave"
    if not found.needs:
        return [f"Every class has enough blocks. Next: {train}"]
    lines = [
        f"More blocks are needed of '{need.coarse}' (about {need.blocks} in all): {need.why}" for need in found.needs
    ]
    names = shlex.quote(",".join(need.coarse for need in found.needs))
    most = max(need.blocks for need in found.needs)
    command = (
        f"bagscope proportions sample TABLE -o more --per-class {most} --coarse {names} --more {shlex.quote(str(form))}"
    )
    return [*lines, f"Next: {command}; or go on: {train}"]


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text is not None else ()
