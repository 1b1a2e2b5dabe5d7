"""Screens of blocks whose truth is known, and a person who fills in forms from it."""

import csv

import numpy as np
import tifffile

import toys

SIZE, ACROSS = 16, 6


def share_of(image, row, column):
    """True share of tissue in a block, in steps of 1/16: each block's class is its row, wherever it lies."""
    return (row * 14 // 5 + (image + column) % 3) / 16


def screen_of(folder, images=4, **columns):
    """Write images of 6 x 6 blocks, boxes with a class per row of blocks, and their table; the last is for testing.

    In a block of share k/16, k of its 16 columns are bright.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for at in range(images):
        pixels = np.full((ACROSS * SIZE, ACROSS * SIZE), 20 + at, np.uint8)  # no two are the same picture
        boxes = []
        for row in range(ACROSS):
            for column in range(ACROSS):
                bright = round(16 * share_of(at, row, column))
                y, x = row * SIZE, column * SIZE
                pixels[y : y + SIZE, x : x + bright] = 200
                boxes.append({"x": x, "y": y, "size": SIZE, "class": f"class {row}"})
        tifffile.imwrite(folder / f"i{at}.tif", pixels)
        written(folder / f"b{at}.csv", boxes)
        part = "test" if at == images - 1 else "train"
        extra = {name: values[at] for name, values in columns.items()}
        lines.append({"image": f"i{at}.tif", "coarse": f"b{at}.csv", "split": part, **extra})
    return written(folder / "screen.csv", lines)


def written(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def filled(form, typed=lambda share: f"{100 * share:g}"):
    """Fill in a form with the truth, in place: what `typed` makes of a share."""

    def fill(rows):
        for row in rows:
            image, at = int(row["image"][1:-4]), (int(row["y"]) // SIZE, int(row["x"]) // SIZE)
            row["tissue"] = typed(share_of(image, *at))
        return rows

    return toys.rewrite(form, fill)


def run(place, *words):
    """Run the command line; return exit code, stdout and stderr."""
    return toys.command("proportions", *words, cwd=place)
