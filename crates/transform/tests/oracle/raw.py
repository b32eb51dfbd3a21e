"""Files written by hand, where no library writes what is wanted: every PNG layout, GIFs placed frame by frame, bitmaps
of the odd kinds, and ICC profiles (ICC.1:2010, version 2)."""

import struct
import zlib

import numpy as np

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Of D65, adapted to D50 by Bradford.
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PRO_PHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))


def chunk(kind, data):
    """A PNG chunk."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(samples, colour, depth, interlaced=False, extra=b"", filters=(0, 1, 2, 3, 4)):
    """A PNG of `samples` (height x width x channels, up to 16 bits), of a colour type of the standard."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(png_rows(samples[y::dy, x::dx], depth, filters) for x, y, dx, dy in passes)
    data = zlib.compress(rows, 6)
    half = len(data) // 2
    image = chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + image + chunk(b"IEND", b"")


def png_rows(samples, depth, filters):
    """The filtered rows of one pass; the filters take turns."""
    height, width = samples.shape[:2]
    if height == 0 or width == 0:
        return b""
    flat = samples.reshape(height, -1)
    if depth == 16:
        rows = flat.astype(">u2").tobytes()
    elif depth == 8:
        rows = flat.astype(np.uint8).tobytes()
    else:
        bits = ((flat[:, :, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1).reshape(height, -1)
        rows = np.packbits(bits, axis=1).tobytes()
    length = len(rows) // height
    step = max(1, depth * (flat.shape[1] // width) // 8)
    lines = np.frombuffer(rows, np.uint8).reshape(height, length)
    before = np.zeros(length, np.uint8)
    out = []
    for index, line in enumerate(lines):
        kind = filters[index % len(filters)]
        left = np.concatenate([np.zeros(min(step, length), np.uint8), line[:-step]])[:length]
        corner = np.concatenate([np.zeros(min(step, length), np.uint8), before[:-step]])[:length]
        guess = [0, left, before, (left.astype(int) + before) // 2, paeth(left, before, corner)][kind]
        out.append(bytes([kind]) + ((line.astype(int) - guess) & 255).astype(np.uint8).tobytes())
        before = line
    return b"".join(out)


def paeth(left, up, corner):
    """The predictor of filter 4."""
    a, b, c = left.astype(int), up.astype(int), corner.astype(int)
    guess = a + b - c
    to_a, to_b, to_c = abs(guess - a), abs(guess - b), abs(guess - c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))


def profile(colorants, gamma, space=b"RGB "):
    """A display profile of three colorants (or none, for grey) and a gamma."""

    def fixed(number):
        return struct.pack(">i", round(number * 65536))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78 + b"\0"
    tags = [(b"desc", text), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", xyz(fixed, (0.9642, 1.0, 0.8249)))]
    if space == b"GRAY":
        tags.append((b"kTRC", curve))
    else:
        tags += [(name, xyz(fixed, values)) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants)]
        tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI", size, b"\0" * 4, 0x02400000) + b"mntr" + space + b"XYZ " + struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    head += b"acsp" + b"\0" * 28 + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return head.ljust(128, b"\0") + table + body


def xyz(fixed, values):
    """A tag of one colour."""
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))


def gif(width, height, frames, loop=None, palette=None, version=b"89a"):
    """A GIF of frames: dictionaries of `indices` (an array) and, where wanted, `at`, `delay`, `dispose`,
    `transparent`, `palette`, `interlaced`. Colours are lists of (r, g, b), as many as a power of two."""
    out = b"GIF" + version + struct.pack("<HH", width, height)
    out += bytes([0x80 | (len(palette).bit_length() - 2) if palette else 0, 0, 0])
    out += b"".join(map(bytes, palette or []))
    if loop is not None:
        out += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0"
    for frame in frames:
        out += gif_frame(frame)
    return out + b"\x3b"


def gif_frame(frame):
    """Graphic control, image descriptor, pixels."""
    indices, (left, top) = frame["indices"], frame.get("at", (0, 0))
    transparent, own = frame.get("transparent"), frame.get("palette")
    flags = frame.get("dispose", 0) << 2 | (transparent is not None)
    out = b"\x21\xf9\x04" + struct.pack("<BHBB", flags, frame.get("delay", 0), transparent or 0, 0)
    height, width = indices.shape
    bits = (0x80 | (len(own).bit_length() - 2) if own else 0) | (0x40 if frame.get("interlaced") else 0)
    out += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, bits) + b"".join(map(bytes, own or []))
    if frame.get("interlaced"):
        order = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
        indices = indices[order]
    data = lzw(indices.astype(np.uint8).tobytes())
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return out + b"\x08" + blocks + b"\0"


def lzw(indices):
    """LZW codes of nine bits that never make a word: a clear code before the table would grow."""
    value, bits, out = 0, 0, bytearray()

    def put(code):
        nonlocal value, bits
        value |= code << bits
        bits += 9
        while bits >= 8:
            out.append(value & 255)
            value >>= 8
            bits -= 8

    for at, index in enumerate(indices):
        if at % 200 == 0:
            put(256)
        put(index)
    put(257)
    if bits:
        out.append(value & 255)
    return bytes(out)


def bmp(width, height, bits, compression, data, palette=b"", masks=b"", top_down=False, header=40):
    """A Windows bitmap with this header and these bytes of pixels."""
    start = 14 + header + (len(masks) if header == 40 else 0) + len(palette)
    rows = -height if top_down else height
    info = struct.pack("<IiiHHIIiiII", header, width, rows, 1, bits, compression, len(data), 2835, 2835, len(palette) // 4, 0)
    info += masks
    info = info.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def bmp_rows(samples):
    """Rows from the bottom, each padded to four bytes."""
    return b"".join(row.tobytes() + b"\0" * (-len(row.tobytes()) % 4) for row in samples[::-1])
