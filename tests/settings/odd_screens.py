"""Tiny screens on which each setting of reading has something to act on."""

import csv
import sys
from pathlib import Path

import numpy as np
import tifffile

import solids_drawn
import tissue
import toys

sys.path.append(str(Path(__file__).parents[1] / "files"))
nasty = __import__("nasty")

EDGE = 72


def toy(folder, wells=2, **options):
    return toys.toy(folder, wells_per_class=wells, **options)


def many_wells(folder):
    return toy(folder, 4)


def _rows(folder, rows, name="screen.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def _changed(folder, change):
    """A toy screen with its rows changed: `change` takes the number of a row and the row."""
    table = toy(folder)
    return toys.rewrite(table, lambda rows: [change(at, row) for at, row in enumerate(rows)])


def one_well_of_two_labels(folder):
    return _changed(folder, lambda at, row: row | ({"well": "A01", "site": str(at + 1)} if at < 2 else {}))


def outside(folder):
    toy(folder / "images_elsewhere")
    table = toys.table_of(folder / "images_elsewhere" / "screen.csv")
    rows = [row | {"image": f"../images_elsewhere/{row['image']}"} for row in table]
    return _rows(folder / "table", rows)


def wells_of_own_names(folder):
    return _changed(folder, lambda at, row: row | {"well": f"dish {at + 1}"})


def one_missing(folder):
    table = toy(folder)
    (folder / toys.table_of(table)[0]["image"]).unlink()
    return table


def classes_of_two_file_types(folder):
    table = toy(folder)
    for row in toys.table_of(table):
        if row["label"] == "ring":
            pixels = tifffile.imread(folder / row["image"])
            tifffile.imwrite(
                folder / row["image"], np.clip(pixels // 4, 0, 255).astype(np.uint8), photometric="minisblack"
            )
    return table


def treated(folder):
    table = many_wells(folder)
    return toys.rewrite(table, lambda rows: [row | {"treatment": "drug"} for row in rows])


def wide(folder):
    return toy(folder, px=104)


def small(folder):
    return toy(folder, px=48, blob_px=20)


def coarse_pixels(folder):
    """The toy screen with pixels of twice the size."""
    table = toy(folder)
    for row in toys.table_of(table):
        path = folder / row["image"]
        tifffile.imwrite(path, tifffile.imread(path), ome=True, photometric="minisblack", metadata={
            "axes": "CYX", "PhysicalSizeX": 1.3, "PhysicalSizeY": 1.3, "Channel": {"Name": ["dna", "gfp"]},
        })  # fmt: skip
    return table


def mostly_broken(folder):
    """Twelve rows that are no images, and eight that are."""
    table = toy(folder)
    rows = toys.table_of(table)
    for at in range(12):
        (folder / f"broken{at}.ome.tif").write_bytes(b"II*\0 no more")
        rows.append(rows[0] | {"image": f"broken{at}.ome.tif", "well": f"H{at + 1:02d}", "label": ""})
    return _rows(folder, rows)


def _images(folder, write):
    """Eight one-plane images, written by a function of path, grey values and random generator."""
    folder.mkdir(parents=True)
    rows = []
    for at in range(8):
        rng = np.random.default_rng(at)
        grey = rng.poisson(100 + 60 * (at % 2), (EDGE, EDGE)).astype(np.uint16)
        write(folder / f"i{at}.tif", grey, rng)
        rows.append({"image": f"i{at}.tif", "well": f"A{at + 1:02d}", "label": "ring" if at % 2 else "filled"})
    return _rows(folder, rows)


def colour(folder):
    def write(path, grey, rng):
        tifffile.imwrite(path, np.repeat((grey // 2).astype(np.uint8)[..., None], 3, 2), photometric="rgb")

    return _images(folder, write)


def transparent(folder):
    def write(path, grey, rng):
        pixels = np.repeat((grey // 2).astype(np.uint8)[..., None], 4, 2)
        pixels[..., 3] = rng.integers(0, 255, grey.shape)
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])

    return _images(folder, write)


def not_a_number(folder):
    def write(path, grey, rng):
        pixels = grey.astype(np.float32)
        pixels[3, 4:9] = np.nan
        tifffile.imwrite(path, pixels)

    return _images(folder, write)


def left_out_strips(folder):
    def write(path, grey, rng):
        path.write_bytes(nasty.zero_count(empty_offsets=True))

    return _images(folder, write)


def tissue_of_spots(folder, rows=2):
    return tissue.screen_of(folder, rows)[0]


def _tissue_changed(folder, change):
    table = tissue_of_spots(folder)
    return toys.rewrite(table, lambda rows: [change(at, row) for at, row in enumerate(rows)])


def tissue_of_two_labels(folder):
    return _tissue_changed(folder, lambda at, row: row | {"well": "A01", "site": str(at + 1), "label": "ab"[at % 2]})


def tissue_treated(folder):
    """Four wells of a treatment, the least with an interval."""
    table = tissue_of_spots(folder, 4)
    change = {"treatment": "drug"}
    return toys.rewrite(table, lambda rows: [row | change | {"well": f"A{at + 1:02d}"} for at, row in enumerate(rows)])


def tissue_outside(folder):
    tissue_of_spots(folder / "elsewhere")
    names = ("image", "coarse", "truth")
    rows = [
        row | {name: f"../elsewhere/{row[name]}" for name in names} for row in toys.table_of(folder / "elsewhere/s.csv")
    ]
    (folder / "table").mkdir()
    (folder / "elsewhere" / "p.csv").rename(folder / "table" / "p.csv")
    return _rows(folder / "table", rows)


def tissue_of_own_wells(folder):
    return _tissue_changed(folder, lambda at, row: row | {"well": f"dish {at + 1}"})


def tissue_missing(folder):
    table = tissue_of_spots(folder)
    (folder / "i0.tif").unlink()
    return table


def _tissue_images(folder, write):
    table = tissue_of_spots(folder)
    for at, row in enumerate(toys.table_of(table)):
        write(folder / row["image"], tifffile.imread(folder / row["image"]), np.random.default_rng(at))
    return table


def tissue_in_colour(folder):
    def write(path, grey, rng):
        pixels = np.stack([grey, grey // 2 + rng.integers(0, 60, grey.shape), 255 - grey // 2], -1).astype(np.uint8)
        tifffile.imwrite(path, pixels, photometric="rgb")

    return _tissue_images(folder, write)


def tissue_transparent(folder):
    def write(path, grey, rng):
        pixels = np.stack([grey, grey, grey, rng.integers(0, 255, grey.shape)], -1).astype(np.uint8)
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])

    return _tissue_images(folder, write)


def tissue_not_a_number(folder):
    def write(path, grey, rng):
        pixels = grey.astype(np.float32)
        pixels[3, 4:9] = np.nan
        tifffile.imwrite(path, pixels)

    return _tissue_images(folder, write)


def tissue_left_out_strips(folder):
    return _tissue_images(folder, lambda path, grey, rng: path.write_bytes(nasty.zero_count(empty_offsets=True)))


def tissue_with_pixel_sizes(folder):
    def write(path, grey, rng):
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "axes": "YX"}
        tifffile.imwrite(path, grey, ome=True, metadata=sizes)

    return _tissue_images(folder, write)


def tissue_of_two_file_types(folder):
    """Six images of one coarse class in 8 bit, six of the other in 16 bit."""
    table = tissue.screen_of(folder, rows=12)[0]
    rows = toys.table_of(table)
    for at, row in enumerate(rows):
        name = ("little", "much")[at % 2]
        boxes = toys.rewrite(folder / row["coarse"], lambda lines, name=name: [one | {"class": name} for one in lines])
        assert boxes.exists()
        if at % 2:
            tifffile.imwrite(folder / row["image"], tifffile.imread(folder / row["image"]).astype(np.uint16))
    return _rows(folder, [row | {"split": ""} for row in rows])


def tissue_of_labels(folder):
    """The tissue whose coarse classes are label images of full resolution."""

    def change(at, row):
        truth = tifffile.imread(folder / row["truth"]) - 1
        share = tissue.shares(truth.astype(bool))
        coarse = np.kron(np.where(share > 0.4, 2, 1), np.ones((tissue.EDGE, tissue.EDGE))).astype(np.uint8)
        tifffile.imwrite(folder / f"c{at}.tif", coarse)
        return row | {"coarse": f"c{at}.tif"}

    table = _tissue_changed(folder, change)
    lines = (folder / "p.csv").read_text().replace("little", "1").replace("much", "2")
    (folder / "p.csv").write_text(lines)
    return table


def tissue_of_unknown_class(folder):
    table = tissue_of_spots(folder)
    lines = (folder / "p.csv").read_text().splitlines()
    (folder / "p.csv").write_text("\n".join(line for line in lines if not line.startswith("much")))
    return table


def tissue_mostly_broken(folder):
    table = tissue_of_spots(folder)
    rows = toys.table_of(table)
    for at in range(12):
        (folder / f"broken{at}.tif").write_bytes(b"II*\0 no more")
        rows.append(rows[0] | {"image": f"broken{at}.tif", "split": "", "coarse": "", "truth": ""})
    return _rows(folder, rows)


def _solids(folder, write, count=4):
    """Flat and round solids, written by a function of path, mask and row number."""
    folder.mkdir(parents=True)
    rows = []
    for at in range(count):
        rng = np.random.default_rng(at)
        radii = np.array((5, 5, 5) if at % 2 else (3, 6, 6)) * rng.uniform(0.9, 1.1, 3)
        mask = solids_drawn.ellipsoid(radii, (14, 14, 14)).astype(np.uint8)
        write(folder / f"v{at}.npz", mask, at)
        label = "round" if at % 2 else "flat"
        rows.append({"image": f"v{at}.npz", "plate": "P", "well": f"A{at + 1:02d}", "site": "1", "label": label})
    return _rows(folder, rows)


def _save(path, mask, at=0, spacing=(1.0, 0.5, 0.5)):
    np.savez(path, volume=mask, spacing=spacing)


def solids(folder):
    return _solids(folder, _save)


def solids_without_spacing(folder):
    return _solids(folder, lambda path, mask, at: np.savez(path, volume=mask))


def one_solid(folder):
    return _solids(folder, _save, 1)


def many_solids(folder):
    return _solids(folder, _save, 8)


def one_of_two_parts(folder):
    return solids_of_two_parts(folder, 1)


def solids_of_two_parts(folder, count=4):
    def write(path, mask, at):
        mask[0, :3, :3] = 1
        _save(path, mask)

    return _solids(folder, write, count)


def one_labelled(folder):
    return labelled_solids(folder, 1)


def labelled_solids(folder, count=4):
    """Three labels in each volume: two that touch, of several sizes, and one at the border."""

    def write(path, mask, at):
        labels = np.zeros((16, 32, 32), np.uint8)
        labels[1:15, 1:15, 1:15] = mask
        small = solids_drawn.ellipsoid((2, 4, 3), (14, 14, 14))
        labels[1:15, 10:24, 1:15][small & (labels[1:15, 10:24, 1:15] == 0)] = 2
        labels[1:15, 1:15, 21:32][solids_drawn.ellipsoid((3, 3, 5), (14, 14, 14))[:, :, :11]] = 3
        _save(path, labels)

    return _solids(folder, write, count)


def stacks(folder):
    return solids_drawn.screen_of(folder)


def _solids_changed(folder, change):
    table = solids(folder)
    return toys.rewrite(table, lambda rows: [change(at, row) for at, row in enumerate(rows)])


def solids_of_two_labels(folder):
    return _solids_changed(folder, lambda at, row: row | ({"well": "A01", "site": str(at + 1)} if at < 2 else {}))


def solids_of_one_plate(folder):
    return _solids_changed(folder, lambda at, row: row)


def solids_outside(folder):
    table = toys.table_of(solids(folder / "elsewhere"))
    return _rows(folder / "table", [row | {"image": f"../elsewhere/{row['image']}"} for row in table])


def solids_of_own_wells(folder):
    return _solids_changed(folder, lambda at, row: row | {"well": f"dish {at + 1}"})


def solids_missing(folder):
    table = solids(folder)
    (folder / "v0.npz").unlink()
    return table


def solids_treated(folder):
    table = many_solids(folder)
    return toys.rewrite(table, lambda rows: [row | {"treatment": "drug"} for row in rows])


def solids_mostly_broken(folder):
    table = one_solid(folder)
    rows = toys.table_of(table)
    for at in range(12):
        _save(folder / f"empty{at}.npz", np.zeros((4, 4, 4), np.uint8))
        rows.append(rows[0] | {"image": f"empty{at}.npz", "well": f"H{at + 1:02d}", "label": ""})
    return _rows(folder, rows)
