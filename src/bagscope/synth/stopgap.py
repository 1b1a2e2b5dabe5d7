"""Temporary."""

import tifffile


def write_atomic(path, data):
    path.write_text(data) if isinstance(data, str) else path.write_bytes(data)


def write_ome_tiff(path, pixels, *, channel_names, pixel_um=None, compression=None):
    tifffile.imwrite(
        path,
        pixels,
        ome=True,
        photometric="minisblack",
        compression=compression,
        metadata={
            "axes": "CYX",
            "Channel": {"Name": list(channel_names)},
            "PhysicalSizeX": pixel_um,
            "PhysicalSizeY": pixel_um,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm",
        },
    )
