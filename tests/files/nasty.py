"""Image files made byte by byte, whole and hostile; each says in one line what it is."""

import io
import struct
import zlib

import numpy as np
import tifffile

BOMB = 60_000  # declared width and height
# First row and column, and steps, of the seven passes of an interlaced PNG (PNG specification, section 8).
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def ramp(height, width, dtype="uint16", step=37):
    """A picture in which a shift, a swap or a scaling shows."""
    return ((np.arange(height * width, dtype=np.uint64) * step) % 4001).reshape(height, width).astype(dtype)


def tiff(pixels, **options):
    """Bytes of a TIFF that tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **{"photometric": "minisblack", **options})
    return stream.getvalue()


# TIFF by hand ---------------------------------------------------------------------------------------------


def plain_tags(height, width, *, bits=8, compression=1, photometric=1, rows=None, more=()):
    """Tags of a page of one sample in strips."""
    return [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits]), (259, 3, [compression]), (262, 3, [photometric]),
            (277, 3, [1]), (278, 4, [rows or height]), (339, 3, [1]), *more]  # fmt: skip


def raw_tiff(tags, strips, *, order="<", share=0, next_page=0, empty=(), empty_offsets=False):
    """A classic TIFF of one page.

    share=n: n strips that all are the bytes of the only one given. next_page: "self", or a place.
    empty: numbers of strips whose byte count is written as 0, with empty_offsets their offset, too.
    """
    offsets, counts, content = [], [], b""
    for strip in strips:
        offsets.append(8 + len(content))
        counts.append(len(strip))
        content += strip
    content += b"\0" * (len(content) % 2)
    for number in empty:
        counts[number] = 0
        offsets[number] = 0 if empty_offsets else offsets[number]
    if share:
        offsets, counts = offsets * share, counts * share
    tags = sorted([*tags, (273, 4, offsets), (279, 4, counts)])
    page = 8 + len(content)
    beyond, listed = page + 2 + 12 * len(tags) + 4, b""
    directory = struct.pack(order + "H", len(tags))
    for code, kind, values in tags:
        packed = struct.pack(order + {1: "B", 2: "B", 3: "H", 4: "I"}[kind] * len(values), *values)
        directory += struct.pack(order + "HHI", code, kind, len(values))
        if len(packed) > 4:
            directory += struct.pack(order + "I", beyond + len(listed))
            listed += packed + b"\0" * (len(packed) % 2)
        else:
            directory += packed.ljust(4, b"\0")
    directory += struct.pack(order + "I", page if next_page == "self" else next_page)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, page)
    return head + content + directory + listed


def strips_of(pixels, rows, compress=bytes):
    return [compress(pixels[top : top + rows].tobytes()) for top in range(0, len(pixels), rows)]


def lzw(content):
    """LZW as TIFF has it: most significant bit first, 9 to 12 bits, codes grow one early."""
    bits = ""
    table, width, word = {bytes([i]): i for i in range(256)}, 9, b""
    bits += f"{256:09b}"
    for byte in content:
        longer = word + bytes([byte])
        if longer in table:
            word = longer
            continue
        bits += f"{table[word]:0{width}b}"
        table[longer] = len(table) + 2
        if len(table) + 2 == 4095:
            bits += f"{256:0{width}b}"
            table, width = {bytes([i]): i for i in range(256)}, 9
        elif len(table) + 3 > 1 << width and width < 12:
            width += 1
        word = bytes([byte])
    if word:
        bits += f"{table[word]:0{width}b}"
        if len(table) + 4 > 1 << width and width < 12:
            width += 1
    bits += f"{257:0{width}b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def big_endian_lzw_predicted():
    """uint16, 64 x 80, "MM", LZW, horizontal differences; decodes to ramp(64, 80)."""
    pixels = ramp(64, 80)
    differences = pixels.copy()
    differences[:, 1:] = pixels[:, 1:] - pixels[:, :-1]  # wraps modulo 65,536, as the standard has it
    tags = plain_tags(64, 80, bits=16, compression=5, rows=16, more=[(317, 3, [2])])
    return raw_tiff(tags, strips_of(differences.astype(">u2"), 16, lzw), order=">")


def tiff_bomb():
    """36 kB, a valid TIFF of 60,000 x 60,000 pixels: 100 strips that all are one."""
    strip = zlib.compress(bytes(BOMB * 600), 9)
    return raw_tiff(plain_tags(BOMB, BOMB, compression=8, rows=600), [strip], share=BOMB // 600)


def zeros_zlib(total, block=1 << 20):
    """A zlib stream of `total` zeros, made without compressing them all."""

    def deflated(length):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(bytes(length)) + packer.flush(zlib.Z_FULL_FLUSH)

    blocks, rest = divmod(total, block)
    body = deflated(block) * blocks + (deflated(rest) if rest else b"")
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return b"\x78\xda" + body + end + struct.pack(">I", total % 65521 << 16 | 1)


def zero_count(number=5, **options):
    """256 x 256 uint16 in 16 zlib strips, the byte count of one is 0: tifffile alone gives shifted rows."""
    tags = plain_tags(256, 256, bits=16, compression=8, rows=16)
    return raw_tiff(tags, strips_of(ramp(256, 256), 16, zlib.compress), empty=[number], **options)


def two_looping_pages():
    """Two pages that name each other as the next."""
    first = bytearray(raw_tiff(plain_tags(16, 16), [ramp(16, 16, "uint8").tobytes()]))
    page = struct.unpack("<I", first[4:8])[0]
    tags = struct.unpack_from("<H", first, page)[0]
    body = first[page : page + 2 + 12 * tags]
    second = len(first)
    struct.pack_into("<I", first, page + 2 + 12 * tags, second)
    return bytes(first) + bytes(body) + struct.pack("<I", page)


def many_pages(number):
    """A chain of `number` pages of one tag each."""
    page = struct.pack("<HHHIHH", 1, 256, 3, 1, 16, 0)
    size = len(page) + 4
    pages = [page + struct.pack("<I", 8 + size * (at + 1)) for at in range(number - 1)] + [page + bytes(4)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def sub_page_that_is_its_parent():
    """A page that names itself as its smaller copy."""
    at = len(raw_tiff(plain_tags(16, 16), [bytes(256)])) - 2 - 12 * 10 - 4
    return raw_tiff(plain_tags(16, 16, more=[(330, 4, [at])]), [bytes(256)])


def ome_tiff(pixels, xml):
    return tiff(pixels, description=xml, metadata=None)


def ome_xml(pixels="", data="<TiffData/>", before="", image=""):
    """OME-XML whose Pixels element has these attributes and blocks."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><Image ID="Image:0" {image}><Pixels ID="Pixels:0" DimensionOrder="XYZCT" {pixels}>'
        f"{data}</Pixels></Image></OME>"
    )


# PNG by hand ----------------------------------------------------------------------------------------------


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width, height, depth, kind, packed, *, chunks=(), interlaced=False):
    """A PNG of any header and any content."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
    middle = b"".join(chunk(name, body) for name, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def png(samples, depth, kind, *, chunks=(), interlaced=False):
    """A PNG that stores (H, W, S) samples of `depth` bits, without filters.

    kind : 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
    """
    height, width, _ = samples.shape
    parts = [samples[top::down, left::across] for top, left, down, across in ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + packed_row(row, depth) for part in parts if part.shape[1] for row in part)
    return png_of(width, height, depth, kind, zlib.compress(rows), chunks=chunks, interlaced=interlaced)


def packed_row(row, depth):
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits.reshape(-1)).tobytes()


def png_bomb():
    """Below 0.5 MB, declares and holds 60,000 x 60,000 pixels of one bit."""
    row = 1 + (BOMB + 7) // 8
    return png_of(BOMB, BOMB, 1, 0, zeros_zlib(row * BOMB, row * 100))


# BMP by hand ----------------------------------------------------------------------------------------------


def bmp(rows, bits, *, palette=b"", size=None, per_metre=0):
    """A BMP of rows as they are stored, the lowest first, each padded to four bytes here."""
    height, width = size or rows.shape[:2]
    content = b"".join(packed.ljust(-(-len(packed) // 4) * 4, b"\0") for packed in map(bytes, rows[::-1]))
    colours = len(palette) // 4
    begin = 54 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", begin + len(content), 0, 0, begin)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(content), per_metre, per_metre, colours, 0)
    return head + info + palette + content
