"""Animations composed by the letter of GIF89a (sections 20 to 23) and of PNG (third edition, sections 11.3.6 and 12.1),
where decoders have opinions of their own: Pillow 13 loses what two frames in a row that are disposed of as "previous"
leave in a PNG, and paints in a GIF what is disposed of as "background"; libvips paints what no frame has drawn."""

import io
import struct

import numpy as np
from PIL import Image

import raw


def gif(data):
    """Frames, delays in milliseconds and the loop count of a GIF, or `None` for it."""
    width, height, bits = struct.unpack("<HHB", data[6:11])
    palette, at = table(data, 13, bits)
    shown, delays, loop = Canvas(width, height), [], None
    delay, dispose, clear = 0, 0, None
    while data[at] != 0x3B:
        if data[at] == 0x21:
            kind = data[at + 1]
            body, at = blocks(data, at + 2)
            if kind == 0xF9:
                flags, delay, index = struct.unpack("<BHB", body[:4])
                dispose, clear = flags >> 2 & 7, index if flags & 1 else None
            elif kind == 0xFF and body[:11] == b"NETSCAPE2.0":
                loop = struct.unpack("<H", body[12:14])[0]
            continue
        left, top, w, h, bits = struct.unpack("<HHHHB", data[at + 1 : at + 10])
        own, at = table(data, at + 10, bits)
        codes, end = blocks(data, at + 1)
        indices = np.frombuffer(unpacked(codes, data[at])[: w * h], np.uint8).reshape(h, w)
        at = end
        if bits & 0x40:
            order = [*range(0, h, 8), *range(4, h, 8), *range(2, h, 4), *range(1, h, 2)]
            indices = indices[np.argsort(order)]
        colours = np.zeros((256, 4), np.uint8)
        colours[:, 3] = 255
        known = own if bits & 0x80 else palette
        colours[: len(known), :3] = known
        if clear is not None:
            colours[clear] = 0
        shown.draw(left, top, colours[indices], {2: "background", 3: "previous"}.get(dispose, "none"), over=True)
        delays.append(delay * 10)
        delay, dispose, clear = 0, 0, None
    return shown.frames, delays, loop


def table(data, at, bits):
    """The colours that these flags announce, and where they end."""
    length = 3 << (bits & 7) + 1 if bits & 0x80 else 0
    return np.frombuffer(data[at : at + length], np.uint8).reshape(-1, 3), at + length


def blocks(data, at):
    """The sub-blocks from there on as one, and where they end."""
    out = b""
    while data[at]:
        out += data[at + 1 : at + 1 + data[at]]
        at += data[at] + 1
    return out, at + 1


def unpacked(data, bits):
    """The indices of LZW codes (GIF89a, appendix F)."""
    clear, out, before = 1 << bits, bytearray(), None
    words, size, value, have = [], bits + 1, 0, 0
    for byte in data:
        value |= byte << have
        have += 8
        while have >= size:
            code = value & (1 << size) - 1
            value >>= size
            have -= size
            if code == clear:
                words, size, before = [bytes([i]) for i in range(clear)] + [b"", b""], bits + 1, None
                continue
            if code == clear + 1:
                return bytes(out)
            word = words[code] if code < len(words) else before + before[:1]
            if before is not None and len(words) < 4096:
                words.append(before + word[:1])
                size = min(12, max(size, len(words).bit_length()))
            out += word
            before = word
    return bytes(out)


def apng(data):
    """The same of an animated PNG, each frame decoded by Pillow as an image of its own. `None` if it is none."""
    head, shared, frames, loop, at = None, b"", [], None, 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        at += length + 12
        if kind == b"IHDR":
            head = body
        elif kind == b"acTL":
            loop = struct.unpack(">II", body)[1]
        elif kind == b"fcTL":
            frames.append([struct.unpack(">IIIIHHBB", body[4:]), b""])
        elif kind == b"IDAT" and frames:
            frames[-1][1] += body
        elif kind == b"fdAT":
            frames[-1][1] += body[4:]
        elif kind in (b"PLTE", b"tRNS"):
            shared += raw.chunk(kind, body)
    if loop is None or not frames:
        return None
    shown, delays = Canvas(*struct.unpack(">II", head[:8])), []
    for (width, height, left, top, count, of, dispose, blend), packed in frames:
        start = raw.chunk(b"IHDR", struct.pack(">II", width, height) + head[8:])
        still = b"\x89PNG\r\n\x1a\n" + start + shared + raw.chunk(b"IDAT", packed) + raw.chunk(b"IEND", b"")
        pixels = np.asarray(Image.open(io.BytesIO(still)).convert("RGBA"))
        # Before the first frame there was nothing.
        way = ("none", "background", "previous" if delays else "background")[dispose]
        shown.draw(left, top, pixels, way, over=blend == 1)
        delays.append(round(1000 * count / (of or 100)))
    return shown.frames, delays, loop


class Canvas:
    """What a viewer shows after each frame: at first nothing."""

    def __init__(self, width, height):
        self.now, self.frames = np.zeros((height, width, 4), np.uint8), []

    def draw(self, left, top, pixels, dispose, over):
        """Shows a frame, and does with it what its disposal says."""
        before = self.now.copy()
        height, width = pixels.shape[:2]
        place = self.now[top : top + height, left : left + width]
        pixels = pixels[: place.shape[0], : place.shape[1]]
        place[...] = blended(pixels, place) if over else pixels
        self.frames.append(self.now.copy())
        if dispose == "background":
            place[...] = 0
        elif dispose == "previous":
            self.now = before


def blended(above, below):
    """Pixels on others, alpha not multiplied in."""
    over, under = (part[..., 3:].astype(float) / 255 for part in (above, below))
    alpha = over + under * (1 - over)
    colours = above[..., :3] * over + below[..., :3] * under * (1 - over)
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.round(np.dstack([colours, alpha * 255])).astype(np.uint8)
