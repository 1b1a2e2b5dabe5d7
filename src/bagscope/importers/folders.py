"""Images sorted into folders by class: class/…/image."""

from __future__ import annotations

from pathlib import Path

from bagscope.errors import Problem, TableError
from bagscope.importers.layout import Layout, image_files, no_images


def read_folders(source: Path) -> Layout:
    """Label each image below `source` with the first folder on its way; `none` means that no class applies.

    The folders between class and image are kept in the column `folder`, for `--split-by folder`.
    Images that lie in `source` itself have no label.
    """
    if not source.is_dir():
        problem = Problem("refuse", "no_source", "not a folder", "Name the folder of class folders.", str(source))
        raise TableError([problem])
    files = image_files(source)
    if not files:
        raise no_images(source, "class/…/image")
    ways = [file.relative_to(source).parts for file in files]
    cells = {
        "image": ["/".join(way) for way in ways],
        "label": [way[0] if len(way) > 1 else "" for way in ways],
        "folder": ["/".join(way[1:-1]) for way in ways],
    }
    if not any(cells["folder"]):
        del cells["folder"]
    loose = sum(len(way) == 1 for way in ways)
    problems = []
    if loose:
        cause = f"{loose} image(s) lie beside the class folders; they have no label"
        problems.append(Problem("warn", "no_class_folder", cause, "Move them into a class folder.", str(source)))
    return Layout(cells, source, problems)
