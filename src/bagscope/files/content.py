"""What a file is, told from its content and never from its name alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bagscope.errors import ImageReadError, shown
from bagscope.files.ome_zarr import is_zarr

_IMAGES = {
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"BM": "bmp",
}
SUFFIXES = {
    "tiff": (".tif", ".tiff", ".stk", ".lsm", ".svs", ".ndpi", ".scn", ".qptiff", ".btf", ".tf8", ".tf2"),
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe"),
    "bmp": (".bmp", ".dib"),
    "zarr": (".zarr",),
}
# What people have in place of an image, how it begins, and how they get the image.
_OTHERS = (
    (b"version https://git-lfs", "lfs_pointer", "a Git LFS pointer, not the image itself", "Run `git lfs pull`."),
    (b"<!doctype html", "html", "an HTML page, not an image", "Download the image again; a login page was saved."),
    (b"<html", "html", "an HTML page, not an image", "Download the image again; a login page was saved."),
    (b"PK\x03\x04", "not_an_image", "a zip archive", "Unpack it."),
    (b"\x1f\x8b", "not_an_image", "a gzip archive", "Unpack it."),
    (b"GIF8", "not_an_image", "a GIF picture", "Save it as PNG or TIFF."),
    (b"RIFF", "not_an_image", "a RIFF file (WebP, AVI)", "Save it as PNG or TIFF."),
    (b"ZISRAWFILE", "not_an_image", "a CZI file", "Export it as OME-TIFF."),
    (b"\xda\xce\xbe\x0a", "not_an_image", "an ND2 file", "Export it as OME-TIFF."),
    (b"\x70\x00\x00\x00", "not_an_image", "a LIF file", "Export it as OME-TIFF."),
    (b"\x89HDF", "not_an_image", "an HDF5 file", "Export it as OME-TIFF."),
    (b"\0\0\0\x0cjP  ", "not_an_image", "a JPEG 2000 picture", "Save it as PNG or TIFF."),
)
_HEAD = 512


def regular_file(path: Path) -> os.stat_result:
    """Look at a path without opening it: devices and pipes would block.

    Raises
    ------
    ImageReadError : nothing there, a folder, or a device, pipe or socket.
    OSError : the file system failed.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        cause, fix = "the file is not there", "Mount the folder, or correct the name in the table."
        raise ImageReadError(cause, fix, code="missing_file", file=path) from None
    except ValueError:
        cause, fix = f"{shown(path)} cannot be a file's name", "Correct it in the table."
        raise ImageReadError(cause, fix, code="missing_file", file=str(path)) from None
    if stat.S_ISDIR(found.st_mode):
        cause = "a folder, not a file"
        raise ImageReadError(cause, "Name an image in it.", code="folder", file=path)
    if not stat.S_ISREG(found.st_mode):
        cause = "a device, pipe or socket, not a file"
        raise ImageReadError(cause, "Name an image file.", code="not_a_file", file=path)
    return found


def kind_of(path: Path) -> str:
    """Return "tiff", "png", "jpeg", "bmp" or "zarr", whatever the file is called.

    Raises
    ------
    ImageReadError : the file is something else; its content is never shown.
    """
    if is_zarr(path):
        return "zarr"
    if regular_file(path).st_size == 0:
        cause = "the file is empty"
        raise ImageReadError(cause, "Copy it again.", code="empty_file", file=path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    for begin, kind in _IMAGES.items():
        if head.startswith(begin):
            return kind
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for begin, code, cause, fix in _OTHERS:
        if head.startswith(begin) or (code != "not_an_image" and plain.lower().startswith(begin)):
            raise ImageReadError(cause, fix, code=code, file=path)
    if not any(head):
        cause = "zeros where the file's kind should stand"
        raise ImageReadError(cause, "Copy it again.", code="not_an_image", file=path)
    cause, fix = "no TIFF, PNG, BMP or JPEG file", "Save the image in one of these formats."
    raise ImageReadError(cause, fix, code="not_an_image", file=path)


def suffix_warning(path: Path, kind: str) -> list[str]:
    """Say when the name promises another format than the content has."""
    if path.suffix.lower() in SUFFIXES[kind] or not path.suffix:
        return []
    others = [name for name, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes]
    return [f"named {path.suffix} but it is a {kind.upper()} file"] if others else []
