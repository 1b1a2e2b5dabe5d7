"""One side of the comparison with MONAI, as a program of its own so that its memory is its own: `SIDE FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tifffile
import torch

from bagscope.blocks.panels import panelled
from bagscope.blocks.predict import BlocksModel, open_model
from bagscope.blocks.tiles import TILE, TiledImage, predict_tiles
from bagscope.files.field import FieldFiles
from bagscope.files.reader import read_header
from bagscope.files.tile_store import TileStore, stored_bytes
from bagscope.files.worker import DecodingWorker
from bagscope.files.writer import scratch_file
from benchmarks.tiles import OVERLAP, ROI


def inside(edge: int) -> tuple[int, int]:
    """Return the pixels of an axis that one window of MONAI's alone judges, near the middle."""
    step = int(ROI * (1 - OVERLAP))
    at = edge // 2 // step * step if edge > 2 * ROI else 0
    return at + ROI - step, at + step


def ours(model: BlocksModel, path: Path) -> np.ndarray:
    """Judge an image as scoring does, its map kept in a file; return the probabilities inside."""
    header, reach = read_header(path), int(model.network.reach)  # type: ignore[arg-type]
    edge = header.height
    first, last = inside(edge)
    found = np.zeros((2, last - first, last - first), np.float32)
    with DecodingWorker(60) as worker, scratch_file(path.parent, stored_bytes(2, edge, edge, TILE)) as stream:
        field = FieldFiles((path,), ())
        read = panelled(lambda *window: worker.read(field, window), header, TILE, reach)
        store = TileStore(stream, 2, edge, edge, TILE)
        for place, p in predict_tiles(model, TiledImage(read, edge, edge)):
            store.put(place.y0, place.x0, p)
            y0, y1 = max(place.y0, first), min(place.y1, last)
            x0, x1 = max(place.x0, first), min(place.x1, last)
            if y0 < y1 and x0 < x1:
                part = p[:, y0 - place.y0 : y1 - place.y0, x0 - place.x0 : x1 - place.x0]
                found[:, y0 - first : y1 - first, x0 - first : x1 - first] = part
    return found


@torch.no_grad()
def theirs(model: BlocksModel, path: Path) -> np.ndarray:
    """Judge an image by MONAI's sliding window with its defaults; return the probabilities inside."""
    from monai.inferers import sliding_window_inference

    mean, sd = (np.array(one, np.float32)[:, None, None] for one in (model.card.scaling.mean, model.card.scaling.sd))
    pixels = np.moveaxis(tifffile.imread(path), -1, 0).astype(np.float32)
    pixels -= mean
    pixels /= sd

    def judged(x: torch.Tensor) -> torch.Tensor:
        return model.network(x.contiguous(memory_format=torch.channels_last))

    logits = sliding_window_inference(torch.from_numpy(pixels)[None], ROI, 1, judged, overlap=OVERLAP)
    p = torch.softmax(logits, 1)[0].numpy()  # type: ignore[call-overload]
    first, last = inside(p.shape[1])
    return p[:, first:last, first:last].copy()


def main(side: str, folder: Path) -> None:
    """Judge the folder's slide, and write what was found and the seconds it took."""
    model, work = open_model(folder / "model", torch.device("cpu")), ours
    if side == "monai":
        import monai.inferers  # noqa: F401 - a second of the program, not of its work

        work = theirs
    began = time.perf_counter()
    found = work(model, folder / "slide.tif")
    (folder / f"{side}.txt").write_text(f"{time.perf_counter() - began}\n")
    np.save(folder / f"{side}.npy", found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
