"""What the hostile corpus grows from: one small honest file of each kind, and bombs."""

import gzip
import os
import struct
import zlib

import numpy as np
import pyvips
from PIL import Image

import cases
import raw
import scene

WIDTH, HEIGHT = 37, 21


def write(folder):
    """Writes them all and answers their list. A bomb is sent as it is; what is not one is mutated too."""
    listed = []
    for bomb, files in ((False, honest()), (True, bombs())):
        for name, media_type, data in files:
            path = os.path.join(folder, name.replace("/", "-"))
            with open(path, "wb") as file:
                file.write(data)
            listed.append({"name": name, "type": media_type, "path": path, "bomb": bomb})
    return listed


def honest():
    """Small files, every one of which is what it says."""
    pixels, clear = scene.photo(WIDTH, HEIGHT), scene.rgba(WIDTH, HEIGHT)
    photo, see_through = Image.fromarray(pixels), Image.fromarray(clear)
    grey = np.asarray(photo.convert("L"))
    profile = cases.profiles()["display-p3"]
    saved, jpeg = cases.saved, "image/jpeg"
    yield "jpeg/baseline", jpeg, saved(photo, "JPEG", quality=80, exif=cases.orientation(6), icc_profile=profile)
    yield "jpeg/progressive", jpeg, saved(photo, "JPEG", quality=80, progressive=True)
    yield "jpeg/restart", jpeg, saved(photo, "JPEG", quality=80, restart_marker_blocks=2)
    yield "jpeg/grey", jpeg, saved(photo.convert("L"), "JPEG", quality=80)
    yield "jpeg/cmyk", jpeg, saved(photo.convert("CMYK"), "JPEG", quality=80)
    png = "image/png"
    profiled = raw.chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
    yield "png/rgb", png, raw.png(pixels, 2, 8, extra=profiled)
    yield "png/rgba", png, raw.png(clear, 6, 8, extra=raw.chunk(b"eXIf", cases.orientation(8).removeprefix(b"Exif\0\0")))
    table = raw.chunk(b"PLTE", bytes(range(48))) + raw.chunk(b"tRNS", bytes([0, 128]))
    yield "png/palette", png, raw.png(grey[..., None] >> 4, 3, 4, True, extra=table)
    yield "png/deep", png, raw.png(pixels.astype(np.uint16) * 257, 2, 16)
    yield "png/one-bit", png, raw.png(grey[..., None] >> 7, 0, 1)
    moves = [Image.fromarray(np.roll(clear, shift, axis=1)) for shift in (5, 11)]
    yield "png/moving", png, saved(see_through, "PNG", save_all=True, append_images=moves, duration=40, blend=1)
    colours = [(i, 255 - i, i // 2) for i in range(256)]
    yield "gif/still", "image/gif", raw.gif(WIDTH, HEIGHT, [{"indices": grey}], palette=colours)
    frames = [
        {"indices": grey, "delay": 5, "dispose": 1},
        {"indices": grey[5:15, 5:15] & 63, "at": (5, 5), "transparent": 7, "dispose": 2, "palette": colours[:64]},
        {"indices": grey[:9], "at": (0, 9), "dispose": 3, "interlaced": True},
    ]
    yield "gif/moving", "image/gif", raw.gif(WIDTH, HEIGHT, frames, loop=0, palette=colours)
    yield "gif/packed", "image/gif", saved(photo.quantize(32), "GIF")
    webp = "image/webp"
    yield "webp/lossy", webp, saved(photo, "WEBP", quality=80, exif=cases.orientation(3), icc_profile=profile)
    yield "webp/lossy-alpha", webp, saved(see_through, "WEBP", quality=80)
    yield "webp/lossless", webp, saved(see_through, "WEBP", lossless=True)
    yield "webp/moving", webp, saved(see_through, "WEBP", save_all=True, append_images=moves, duration=40)
    bmp = "image/bmp"
    yield "bmp/rgb", bmp, saved(photo, "BMP")
    yield "bmp/palette", bmp, saved(photo.quantize(16), "BMP")
    runs = b"".join(b"".join(bytes([1, i]) for i in row) + b"\0\0" for row in grey[::-1]) + b"\0\x01"
    yield "bmp/runs", bmp, raw.bmp(WIDTH, HEIGHT, 8, 1, runs, palette=bytes(1024))
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    yield "bmp/fields", bmp, raw.bmp(WIDTH, HEIGHT, 16, 3, bytes((WIDTH + 1) * 2 * HEIGHT), masks=masks)
    tiff = "image/tiff"
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff/{compression}", tiff, saved(photo, "TIFF", compression=compression)
    vips = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    yield "tiff/tiled", tiff, vips.tiffsave_buffer(tile=True, tile_width=16, tile_height=16, compression="deflate")
    yield "tiff/palette", tiff, saved(photo.quantize(16), "TIFF")
    icon = Image.fromarray(scene.rgba(32, 32))
    ico = "image/x-icon"
    yield "ico/png", ico, saved(icon, "ICO", sizes=[(16, 16), (32, 32)])
    yield "ico/bitmap", ico, saved(icon, "ICO", sizes=[(16, 16), (32, 32)], bitmap_format="bmp")
    avif = "image/avif"
    yield "avif/420", avif, saved(photo, "AVIF", quality=60, subsampling="4:2:0")
    yield "avif/alpha", avif, saved(see_through, "AVIF", quality=60, subsampling="4:4:4", exif=cases.orientation(6))


def bombs():
    """Small files that claim or contain much."""
    for make in (jpeg_bombs, png_bombs, gif_bombs, webp_bombs, bmp_bombs, tiff_bombs, ico_bombs, avif_bombs, svg_bombs):
        for name, media_type, data in make():
            yield f"bomb/{name}", media_type, data


def resized(data, width, height, marker=0xC0):
    """A JPEG that claims another size."""
    at = data.index(bytes([0xFF, marker]))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def jpeg_bombs():
    """Pixels, scans, segments, profiles."""
    kind = "image/jpeg"
    photo = Image.fromarray(scene.photo(64, 64))
    plain = cases.saved(photo, "JPEG", quality=80)
    slow = cases.saved(photo, "JPEG", quality=80, progressive=True)
    yield "jpeg-65535-square", kind, resized(plain, 65_535, 65_535)
    yield "jpeg-49-megapixels-of-nothing", kind, resized(plain, 7_000, 7_000)
    yield "jpeg-49-megapixels-progressive", kind, resized(slow, 7_000, 7_000, 0xC2)
    yield "jpeg-no-lines", kind, resized(plain, 64, 0)
    scan = slow[slow.rindex(b"\xff\xda") : -2]
    yield "jpeg-2000-scans", kind, slow[:-2] + scan * 2_000 + b"\xff\xd9"
    yield "jpeg-2000-scans-of-16-megapixels", kind, resized(slow[:-2] + scan * 2_000 + b"\xff\xd9", 4_000, 4_000, 0xC2)
    comment = b"\xff\xfe\xff\xff" + b"x" * 65_533
    yield "jpeg-200-comments", kind, plain[:2] + comment * 200 + plain[2:]
    pieces = b"".join(b"\xff\xe2\xff\xf0ICC_PROFILE\0" + bytes([i, 255]) + b"\0" * 65_504 for i in range(1, 256))
    yield "jpeg-16-megabytes-of-profile", kind, plain[:2] + pieces + plain[2:]
    loop = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08"
    yield "jpeg-exif-that-points-at-itself", kind, plain[:2] + b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop + plain[2:]
    yield "jpeg-fill-bytes", kind, plain[:2] + b"\xff" * 3_000_000 + plain[2:]
    yield "jpeg-thumbnails-in-thumbnails", kind, plain[:2] + (b"\xff\xe1\xff\xff" + plain.ljust(65_533, b"\0")) * 40 + plain[2:]


def claimed(width, height, depth=8, colour=2, extra=b"", data=b""):
    """A PNG of any claim."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = extra + raw.chunk(b"IDAT", data) + raw.chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + raw.chunk(b"IHDR", header) + body


def zeroes(count):
    """Deflated nothing, a thousand times as long as it looks (RFC 1950): one flushed megabyte, over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(count & ((1 << 20) - 1))) + last.flush()
    return b"\x78\xda" + megabyte * (count >> 20) + rest + struct.pack(">HH", count % 65_521, 1)


def png_bombs():
    """Pixels, chunks, frames."""
    kind = "image/png"
    small = zlib.compress(bytes(49 * 16))
    bomb = zeroes(256 << 20)
    yield "png-65535-square", kind, claimed(65_535, 65_535)
    yield "png-2-billion-by-1", kind, claimed(0x7FFF_FFFF, 1)
    yield "png-49-megapixels-of-nothing", kind, claimed(7_000, 7_000, data=zlib.compress(b"\0"))
    yield "png-49-megapixels-of-zeroes", kind, claimed(7_000, 7_000, data=zeroes(7_000 * 21_001))
    yield "png-49-megapixels-of-16-bits", kind, claimed(7_000, 7_000, 16, 6, data=zeroes(7_000 * 56_001))
    yield "png-a-profile-of-256-megabytes", kind, claimed(16, 16, extra=raw.chunk(b"iCCP", b"p\0\0" + bomb), data=small)
    yield "png-a-text-of-256-megabytes", kind, claimed(16, 16, extra=raw.chunk(b"zTXt", b"t\0\0" + bomb), data=small)
    text = raw.chunk(b"iTXt", b"t\0\1\0\0\0" + bomb)
    yield "png-8-texts-of-256-megabytes", kind, claimed(16, 16, extra=text * 8, data=small)
    yield "png-pixels-for-256-megabytes-too-many", kind, claimed(16, 16, data=bomb)
    yield "png-50000-chunks", kind, claimed(16, 16, extra=raw.chunk(b"tEXt", b"a\0b") * 50_000, data=small)
    moving = raw.chunk(b"acTL", struct.pack(">II", 0xFFFF_FFFF, 0))
    yield "png-4-billion-frames", kind, claimed(16, 16, extra=moving, data=small)

    def frames(count, width, height, data, claim=None):
        control = raw.chunk(b"acTL", struct.pack(">II", claim or count, 0))
        out, number = b"", 0
        for index in range(count):
            place = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0)
            out += raw.chunk(b"fcTL", place)
            number += 1
            if index == 0:
                out += raw.chunk(b"IDAT", data)
            else:
                out += raw.chunk(b"fdAT", struct.pack(">I", number) + data)
                number += 1
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + raw.chunk(b"IHDR", header) + control + out + raw.chunk(b"IEND", b"")

    yield "png-400-frames", kind, frames(400, 16, 16, small)
    yield "png-1-frame-of-400", kind, frames(400, 16, 16, small, 1)
    yield "png-299-frames-of-4-megapixels", kind, frames(299, 2_000, 2_000, zeroes(2_000 * 6_001))


def gif_bombs():
    """Canvas, frames, codes."""
    kind = "image/gif"
    dot = {"indices": np.zeros((1, 1), np.uint8)}
    colours = [(0, 0, 0)] * 256
    yield "gif-65535-square-canvas", kind, raw.gif(65_535, 65_535, [dot], palette=colours)
    yield "gif-400-frames", kind, raw.gif(16, 16, [dot] * 400, palette=colours)
    yield "gif-20000-frames", kind, raw.gif(16, 16, [dot] * 20_000, palette=colours)
    yield "gif-290-frames-on-49-megapixels", kind, raw.gif(7_000, 7_000, [dot] * 290, loop=0, palette=colours)
    yield "gif-290-frames-of-1-byte-for-4-megapixels", kind, gif_of(2_000, 2_000, 290, b"\x00\x51")
    yield "gif-a-frame-outside", kind, raw.gif(16, 16, [dot | {"at": (60_000, 60_000)}], palette=colours)
    yield "gif-codes-that-grow-fast", kind, gif_of(16_000, 3_000, 1, growing(40_000))
    yield "gif-30000-comments", kind, raw.gif(16, 16, [], palette=colours)[:-1] + b"\x21\xfe\x01x\0" * 30_000 + b"\x3b"


def gif_of(width, height, count, codes):
    """Frames as large as the canvas with these LZW bytes."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08"
    frame += b"".join(bytes([len(codes[i : i + 255])]) + codes[i : i + 255] for i in range(0, len(codes), 255)) + b"\0"
    return raw.gif(width, height, [], loop=0, palette=[(0, 0, 0)] * 256)[:-1] + frame * count + b"\x3b"


def growing(count):
    """Codes each of which means a string one longer than the one before: quadratic pixels."""
    value, bits, out, size = 256, 9, bytearray(), 9
    codes = [0] + [258 + i for i in range(count)]
    for code in codes:
        if code > 4095:
            break
        value |= code << bits
        bits += size
        while bits >= 8:
            out.append(value & 255)
            value >>= 8
            bits -= 8
        size = min(12, max(9, (code + 1).bit_length()))
    return bytes(out) + bytes([value & 255])


def webp_bombs():
    """Canvas, frames, lengths."""
    kind = "image/webp"

    def riff(*chunks):
        body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    def u24(number):
        return struct.pack("<I", number)[:3]

    lossless = cases.saved(Image.new("RGB", (16, 16), (1, 2, 3)), "WEBP", lossless=True)
    pixels = lossless[20:]
    wide = bytearray(pixels)
    wide[1:5] = struct.pack("<I", 16_383 | 16_383 << 14)
    yield "webp-268-megapixels", kind, riff((b"VP8L", bytes(wide)))
    wide[1:5] = struct.pack("<I", 6_999 | 6_999 << 14)
    yield "webp-49-megapixels", kind, riff((b"VP8L", bytes(wide)))
    extended = b"\0\0\0\0" + u24(0xFFFFFF) + u24(0xFFFFFF)
    yield "webp-16-million-square-canvas", kind, riff((b"VP8X", extended), (b"VP8L", pixels))
    canvas = b"\x02\0\0\0" + u24(15) + u24(15)
    frame = u24(0) + u24(0) + u24(15) + u24(15) + u24(10) + b"\0" + b"VP8L" + struct.pack("<I", len(pixels)) + pixels
    head = ((b"VP8X", canvas), (b"ANIM", b"\0" * 6))
    yield "webp-400-frames", kind, riff(*head, *[(b"ANMF", frame + b"\0" * (len(pixels) % 2))] * 400)
    outside = u24(0xFFFFFF) + frame[3:]
    yield "webp-a-frame-outside", kind, riff(*head, (b"ANMF", outside))
    large = (b"VP8X", b"\x02\0\0\0" + u24(6_999) + u24(6_999))
    yield "webp-290-frames-on-49-megapixels", kind, riff(large, head[1], *[(b"ANMF", frame)] * 290)
    yield "webp-a-length-that-lies", kind, lossless[:4] + b"\xff\xff\xff\xff" + lossless[8:]
    yield "webp-a-chunk-of-4-gigabytes", kind, lossless[:16] + b"\xff\xff\xff\xff" + lossless[20:]
    lossy = cases.saved(Image.new("RGB", (16, 16)), "WEBP", quality=50)
    at = lossy.index(b"\x9d\x01\x2a") + 3
    yield "webp-lossy-16383-square", kind, lossy[:at] + struct.pack("<HH", 16_383, 16_383) + lossy[at + 4 :]
    yield "webp-lossy-49-megapixels", kind, lossy[:at] + struct.pack("<HH", 7_000, 7_000) + lossy[at + 4 :]


def bmp_bombs():
    """Sizes, colours, runs."""
    kind = "image/bmp"
    yield "bmp-65535-square", kind, raw.bmp(65_535, 65_535, 24, 0, bytes(64))
    yield "bmp-2-billion-square", kind, raw.bmp(0x7FFF_FFFF, 0x7FFF_FFFF, 32, 0, bytes(64))
    yield "bmp-minus-2-billion-high", kind, raw.bmp(1, 0x8000_0000 - 1, 24, 0, bytes(64), top_down=True)
    yield "bmp-49-megapixels-of-nothing", kind, raw.bmp(7_000, 7_000, 24, 0, bytes(64))
    yield "bmp-49-megapixels-of-runs", kind, raw.bmp(7_000, 7_000, 8, 1, b"\0\x01", palette=bytes(1_024))
    yield "bmp-runs-without-end", kind, raw.bmp(7_000, 7_000, 8, 1, b"\0\x02\xff\xff" * 100_000, palette=bytes(1_024))
    colours = bytearray(raw.bmp(16, 16, 8, 0, bytes(256), palette=bytes(1_024)))
    colours[46:50] = b"\xff\xff\xff\xff"
    yield "bmp-4-billion-colours", kind, bytes(colours)
    yield "bmp-masks-of-nothing", kind, raw.bmp(16, 16, 32, 3, bytes(1_024), masks=bytes(12))
    yield "bmp-masks-of-everything", kind, raw.bmp(16, 16, 32, 3, bytes(1_024), masks=b"\xff" * 12)


def ifd(entries, after=0, at=8):
    """A little-endian TIFF of one directory at `at`: tag, type (3 or 4), count, value."""
    out = struct.pack("<H", len(entries))
    out += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries)) + struct.pack("<I", after)
    return (b"II*\0" + struct.pack("<I", at)).ljust(at, b"\0") + out


def tiff_bombs():
    """Directories, strips, tiles."""
    kind = "image/tiff"

    def image(width, height, strip=8, length=64, samples=3, compression=1, rows=0xFFFF_FFFF, **more):
        return [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, compression),
            (262, 3, 1, 2 if samples == 3 else 1),
            (273, 4, 1, strip),
            (277, 3, 1, samples),
            (278, 4, 1, rows),
            (279, 4, 1, length),
            *more.get("entries", ()),
        ]

    yield "tiff-65535-square", kind, ifd(image(65_535, 65_535))
    yield "tiff-4-billion-square", kind, ifd(image(0xFFFF_FFFF, 0xFFFF_FFFF))
    yield "tiff-49-megapixels-of-nothing", kind, ifd(image(7_000, 7_000, samples=1))
    yield "tiff-a-directory-that-is-its-own-next", kind, ifd(image(4, 4), after=8)
    yield "tiff-a-directory-after-the-end", kind, ifd(image(4, 4), after=0x7FFF_FFFF)
    yield "tiff-65535-samples", kind, ifd(image(4, 4, samples=65_535))
    yield "tiff-no-width", kind, ifd(image(0, 4))
    yield "tiff-a-strip-of-4-gigabytes", kind, ifd(image(400, 400, length=0xFFFF_FFFF))
    bomb = zeroes(147 << 20)
    data = ifd(image(7_000, 7_000, strip=200, length=len(bomb), compression=8)).ljust(200, b"\0") + bomb
    yield "tiff-49-megapixels-of-zeroes", kind, data
    bomb = zeroes(512 << 20)
    data = ifd(image(64, 64, strip=200, length=len(bomb), compression=8)).ljust(200, b"\0") + bomb
    yield "tiff-a-strip-of-512-megabytes", kind, data
    yield "tiff-4-billion-strips", kind, ifd([(256, 4, 1, 4), (257, 4, 1, 4), (273, 4, 0xFFFF_FFFF, 8), (279, 4, 0xFFFF_FFFF, 8)])
    tiles = [(256, 4, 1, 7_000), (257, 4, 1, 7_000), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tiles += [(322, 4, 1, 1), (323, 4, 1, 1), (324, 4, 1, 8), (325, 4, 1, 1)]
    yield "tiff-49-million-tiles", kind, ifd(tiles)
    tiles[5], tiles[6] = (322, 4, 1, 0xFFFF_FFF0), (323, 4, 1, 0xFFFF_FFF0)
    yield "tiff-a-tile-of-everything", kind, ifd(tiles)
    planar = image(64, 64, entries=[(284, 3, 1, 2), (322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 1, 8), (325, 4, 1, 8)])
    yield "tiff-planar-tiles", kind, ifd(planar)
    directories = b"".join(ifd(image(4, 4), after=8 + 114 * (i + 1))[8:] for i in range(5_000))
    yield "tiff-5000-pages", kind, b"II*\0\x08\0\0\0" + directories


def ico_bombs():
    """Images that are not as small as icons."""
    kind = "image/x-icon"

    def icon(*images, side=0):
        at = 6 + 16 * len(images)
        out, body = struct.pack("<HHH", 0, 1, len(images)), b""
        for image in images:
            out += struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(image), at + len(body))
            body += image
        return out + body

    yield "ico-a-png-of-65535-square", kind, icon(claimed(65_535, 65_535, 8, 6))
    yield "ico-a-png-of-49-megapixels", kind, icon(claimed(7_000, 7_000, 8, 6, data=zeroes(7_000 * 28_001)))
    yield "ico-in-an-ico", kind, icon(icon(claimed(16, 16, 8, 6)))
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, 120_000, 1, 32, 0, 0, 0, 0, 0, 0)
    yield "ico-a-bitmap-of-60000-square", kind, icon(header + bytes(64))
    yield "ico-65535-images", kind, struct.pack("<HHH", 0, 1, 65_535) + bytes(1_000)
    same = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 100, 22)
    yield "ico-30000-times-the-same", kind, struct.pack("<HHH", 0, 1, 30_000) + same * 30_000


def avif_bombs():
    """Boxes and sizes."""
    kind = "image/avif"
    photo = cases.saved(Image.fromarray(scene.photo(64, 64)), "AVIF", quality=60)
    size = photo.index(b"ispe") + 8
    yield "avif-65535-square", kind, photo[:size] + struct.pack(">II", 65_535, 65_535) + photo[size + 8 :]
    yield "avif-7000-square", kind, photo[:size] + struct.pack(">II", 7_000, 7_000) + photo[size + 8 :]
    head = photo[: photo.index(b"meta") - 4]
    yield "avif-a-box-of-everything", kind, head + b"\0\0\0\1meta" + b"\x7f" + b"\xff" * 7 + bytes(64)
    yield "avif-a-box-of-nothing", kind, head + b"\0\0\0\0meta" + bytes(64)
    nested = b""
    for _ in range(2_000):
        nested = struct.pack(">I", len(nested) + 8) + b"iprp" + nested
    yield "avif-2000-boxes-deep", kind, head + struct.pack(">I", len(nested) + 12) + b"meta\0\0\0\0" + nested
    free = b"\0\0\0\x08free" * 200_000
    yield "avif-200000-boxes", kind, head + free + photo[len(head) :]
    at = photo.index(b"iloc") + 4
    yield "avif-items-all-over", kind, photo[:at] + b"\0\0\0\0\xff\xff\xff\xff" + b"\xff" * 40 + photo[at + 48 :]


def svg_bombs():
    """Entities, depth, recursion, size, references."""
    kind = "image/svg+xml"
    root = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64">'

    def svg(body, before="", root=root):
        return f"{before}{root}{body}</svg>".encode()

    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    yield "svg-billion-laughs", kind, svg("<text>&l9;</text>", f'<!DOCTYPE svg [<!ENTITY l0 "lol">{laughs}]>')
    file = '<!DOCTYPE svg [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    yield "svg-external-entity", kind, svg("<text>&f;</text>", file)
    yield "svg-100000-groups-deep", kind, svg("<g>" * 100_000 + "</g>" * 100_000)
    doubled = "".join(f'<g id="g{i}"><use href="#g{i - 1}"/><use href="#g{i - 1}"/></g>' for i in range(1, 40))
    yield "svg-uses-that-double", kind, svg(f'<defs><rect id="g0" width="1" height="1"/>{doubled}</defs><use href="#g39"/>')
    yield "svg-a-use-of-itself", kind, svg('<g id="a"><use href="#a"/></g>')
    blur = '<filter id="f"><feGaussianBlur stdDeviation="1e9"/></filter><rect width="64" height="64" filter="url(#f)"/>'
    yield "svg-a-blur-of-everything", kind, svg(blur)
    dash = '<path d="M0 0 L1e9 1e9" stroke="black" stroke-dasharray="1e-6"/>'
    yield "svg-a-dash-of-nothing", kind, svg(dash)
    large = root.replace('width="64" height="64"', 'width="1e9" height="1e9"')
    yield "svg-a-billion-wide", kind, svg("", root=large)
    image = '<image href="file:///etc/passwd" width="9" height="9"/><image href="http://127.0.0.1:1/x" width="9" height="9"/>'
    yield "svg-images-from-elsewhere", kind, svg(image)
    pattern = '<pattern id="p" width="1e-6" height="1e-6"><rect width="1" height="1"/></pattern><rect width="64" height="64" fill="url(#p)"/>'
    yield "svg-a-pattern-of-atoms", kind, svg(pattern)
    yield "svg-200000-shapes", kind, svg('<rect width="9" height="9" fill="#123"/>' * 200_000)
    yield "svg-gzipped-64-megabytes", kind, gzip.compress(svg(" " * (64 << 20)), mtime=0)
