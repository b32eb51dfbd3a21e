"""One file for every way in which a format can carry an image."""

import io
import os
import struct

import numpy as np
import pyvips
from PIL import Image

import raw
import scene

WIDTH, HEIGHT = 101, 67


class Cases:
    """Files in a folder, and their list. A kind says how near two decoders come:

    exact    every sample
    near     the same arithmetic with other rounding (inverse DCT, chroma)
    colour   a profile was applied
    """

    def __init__(self, folder):
        self.folder, self.list = folder, []

    def add(self, name, media_type, data, kind, judges=("pillow", "vips"), **more):
        """`data` as a file. `judges` are those who can decode it."""
        path = os.path.join(self.folder, name.replace("/", "-"))
        with open(path, "wb") as file:
            file.write(data)
        self.list.append({"name": name, "type": media_type, "path": path, "kind": kind, "judges": judges} | more)


def write(folder, families):
    """Writes those of some formats."""
    cases = Cases(folder)
    makers = {make.__name__: make for make in (jpeg, png, apng, gif, webp, bmp, tiff, ico, avif)}
    for family in families:
        makers[family](cases)
    return cases.list


def saved(image, form, **options):
    """The bytes of a Pillow image."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def orientation(value):
    """EXIF with nothing but the tag 0x0112."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def profiles():
    """Profiles by name: matrices of our own, so that no library's opinion of a well-known one decides."""
    return {
        "display-p3": raw.profile(raw.DISPLAY_P3, 2.2),
        "adobe-rgb": raw.profile(raw.ADOBE_RGB, 2.19921875),
        "prophoto": raw.profile(raw.PRO_PHOTO, 1.8),
        # Red and green exchanged: whoever ignores a profile is seen at once.
        "swapped": raw.profile((raw.SRGB[1], raw.SRGB[0], raw.SRGB[2]), 2.2),
        "linear": raw.profile(raw.SRGB, 1.0),
    }


def vips_profile(name):
    """One of those that libvips brings."""
    return bytes(pyvips.Operation.call("profile_load", name))


def jpeg(cases):
    """Written by libjpeg-turbo."""
    photo = Image.fromarray(scene.photo(WIDTH, HEIGHT))

    def add(name, image=photo, kind="near", judges=("pillow", "vips"), **options):
        data = saved(image, "JPEG", **({"quality": 92} | options))
        cases.add(f"jpeg/{name}", "image/jpeg", data, kind, judges)

    for value in range(1, 9):
        add(f"orientation-{value}", exif=orientation(value))
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        add(f"baseline-{sampling.replace(':', '')}", subsampling=sampling)
        add(f"progressive-{sampling.replace(':', '')}", subsampling=sampling, progressive=True)
    # Even sides and half the colour resolution: where JPEG is wanted, these stay planes from decoder to encoder.
    for width, height in ((100, 66), (96, 64), (34, 18)):
        add(f"planes-{width}x{height}", Image.fromarray(scene.photo(width, height)), subsampling="4:2:0")
    even = photo.crop((0, 0, 100, 66))
    add("planes-restart-markers", even, subsampling="4:2:0", restart_marker_blocks=3)
    add("planes-quality-30", even, subsampling="4:2:0", quality=30)
    add("restart-markers", restart_marker_blocks=3)
    add("progressive-restart-markers", restart_marker_rows=1, progressive=True)
    add("grey", photo.convert("L"))
    add("grey-progressive", photo.convert("L"), progressive=True)
    add("rgb-without-transform", keep_rgb=True)
    add("cmyk", photo.convert("CMYK"), judges=("pillow",))
    add("quality-30", quality=30)
    add("one-pixel", photo.crop((0, 0, 1, 1)))
    add("one-row", photo.crop((0, 0, 101, 1)))
    for name, profile in profiles().items():
        add(f"icc-{name}", kind="colour", icc_profile=profile)
    add("icc-grey-linear", photo.convert("L"), kind="colour", icc_profile=raw.profile(None, 1.0, b"GRAY"))
    add("icc-cut-off", icc_profile=raw.profile(raw.DISPLAY_P3, 2.2)[:200], judges=("vips",))
    add("icc-p3-orientation-6", kind="colour", icc_profile=profiles()["display-p3"], exif=orientation(6))
    inks = pyvips.Image.new_from_array(np.asarray(photo)).copy(interpretation="srgb")
    inks = inks.icc_transform("cmyk", input_profile="srgb", intent="relative")
    cases.add("jpeg/cmyk-icc", "image/jpeg", inks.jpegsave_buffer(Q=92, profile="cmyk"), "colour")


def png(cases):
    """Every colour type and depth, by hand."""
    photo, alpha = scene.photo(WIDTH, HEIGHT), scene.alpha(WIDTH, HEIGHT)[..., None]
    grey = np.asarray(Image.fromarray(photo).convert("L"))[..., None]
    fine = np.random.default_rng(5).integers(0, 256, photo.shape)
    deep = photo.astype(np.uint16) * 256 + fine

    def add(name, *arguments, kind="exact", judges=("pillow", "vips"), **options):
        cases.add(f"png/{name}", "image/png", raw.png(*arguments, **options), kind, judges)

    for interlaced in (False, True):
        tail = "-interlaced" if interlaced else ""
        for depth in (1, 2, 4):
            add(f"grey-{depth}{tail}", grey >> (8 - depth), 0, depth, interlaced)
            colours = np.random.default_rng(depth).integers(0, 256, (1 << depth, 3), np.uint8)
            table = raw.chunk(b"PLTE", colours.tobytes())
            add(f"palette-{depth}{tail}", grey >> (8 - depth), 3, depth, interlaced, extra=table)
            clear = raw.chunk(b"tRNS", bytes([0, 128]))
            add(f"palette-{depth}-alpha{tail}", grey >> (8 - depth), 3, depth, interlaced, extra=table + clear)
        table = raw.chunk(b"PLTE", np.random.default_rng(8).integers(0, 256, (256, 3), np.uint8).tobytes())
        clear = raw.chunk(b"tRNS", bytes(range(256)))
        add(f"palette-8-alpha{tail}", grey, 3, 8, interlaced, extra=table + clear)
        add(f"grey-8{tail}", grey, 0, 8, interlaced)
        add(f"rgb-8{tail}", photo, 2, 8, interlaced)
        add(f"grey-alpha-8{tail}", np.dstack([grey, alpha]), 4, 8, interlaced)
        add(f"rgba-8{tail}", np.dstack([photo, alpha]), 6, 8, interlaced)
        # Sixteen bits become eight by rounding in one decoder and by cutting in another.
        add(f"grey-16{tail}", deep[..., :1], 0, 16, interlaced, kind="rounded")
        add(f"rgb-16{tail}", deep, 2, 16, interlaced, kind="rounded")
        deep_alpha = alpha.astype(np.uint16) * 257
        add(f"grey-alpha-16{tail}", np.dstack([deep[..., :1], deep_alpha]), 4, 16, interlaced, kind="rounded", judges=("vips",))
        add(f"rgba-16{tail}", np.dstack([deep, deep_alpha]), 6, 16, interlaced, kind="rounded")
    add("grey-8-transparent", grey, 0, 8, extra=raw.chunk(b"tRNS", struct.pack(">H", int(grey[9, 9, 0]))))
    add("rgb-8-transparent", photo, 2, 8, extra=raw.chunk(b"tRNS", struct.pack(">3H", *map(int, photo[9, 9]))))
    add("one-pixel", photo[:1, :1], 2, 8)
    add("one-column-interlaced", photo[:, :1], 2, 8, True)
    for value in range(1, 9):
        tiff = orientation(value).removeprefix(b"Exif\0\0")
        add(f"orientation-{value}", photo, 2, 8, extra=raw.chunk(b"eXIf", tiff))
    for name, profile in profiles().items():
        extra = raw.chunk(b"iCCP", b"p\0\0" + raw.zlib.compress(profile))
        add(f"icc-{name}", photo, 2, 8, extra=extra, kind="colour")
        add(f"icc-{name}-alpha", np.dstack([photo, alpha]), 6, 8, extra=extra, kind="colour")
    extra = raw.chunk(b"iCCP", b"p\0\0" + raw.zlib.compress(profiles()["display-p3"]))
    add("icc-display-p3-16", deep, 2, 16, extra=extra, kind="colour", judges=("vips",))


def moving(count, mode="RGBA"):
    """Frames in which a clear-edged square wanders over a still ground."""
    ground = scene.rgba(WIDTH, HEIGHT)
    frames = []
    for step in range(count):
        frame = ground.copy()
        frame[10 + 4 * step : 30 + 4 * step, 8 * step : 8 * step + 24] = (220, 40 * step % 256, 60, 255 - 30 * (step % 2))
        frames.append(Image.fromarray(frame).convert(mode))
    return frames


def apng(cases):
    """By Pillow, with every disposal and both ways to blend."""
    first, *rest = moving(5)
    for name, options in {
        "kept": {"disposal": 0, "blend": 0},
        "background-over": {"disposal": 1, "blend": 1},
        "previous-over": {"disposal": [0, 2, 2, 0, 1], "blend": [0, 1, 1, 0, 1]},
    }.items():
        times = [70, 110, 33, 1000, 20]
        data = saved(first, "PNG", save_all=True, append_images=rest, duration=times, loop=3, **options)
        cases.add(f"apng/{name}", "image/png", data, "exact", ("pillow",), animated=True)
    first, *rest = moving(3, "RGB")
    data = saved(first, "PNG", save_all=True, append_images=rest, duration=50, default_image=False)
    cases.add("apng/opaque-for-ever", "image/png", data, "exact", ("pillow",), animated=True)


def gif(cases):
    """By hand, frame by frame."""
    grey = np.asarray(Image.fromarray(scene.photo(WIDTH, HEIGHT)).convert("L"))
    colours = [tuple(map(int, row)) for row in np.random.default_rng(4).integers(0, 256, (256, 3))]
    other = colours[::-1]

    def add(name, *arguments, animated=False, judges=("pillow", "vips", "hand"), **options):
        data = raw.gif(WIDTH, HEIGHT, *arguments, **options)
        cases.add(f"gif/{name}", "image/gif", data, "exact", judges, animated=animated)

    def frame(part=(0, 0, WIDTH, HEIGHT), shift=0, **options):
        left, top, right, lower = part
        return {"indices": (grey[top:lower, left:right] + shift).astype(np.uint8), "at": (left, top)} | options

    add("still", [frame()], palette=colours)
    add("interlaced", [frame(interlaced=True)], palette=colours)
    add("transparent", [frame(transparent=int(grey[20, 20]))], palette=colours)
    add("own-colours", [frame(palette=other)])
    add("four-colours", [{"indices": grey >> 6}], palette=colours[:4])
    patch, place = (11, 7, 60, 41), (30, 20, 101, 67)
    for dispose in (0, 1, 2, 3):
        frames = [
            frame(delay=7, dispose=1),
            frame(patch, 3, delay=11, dispose=dispose, transparent=int(grey[9, 20]) + 3),
            frame(place, 9, delay=3, dispose=dispose, transparent=200, palette=other),
            frame((0, 0, 20, 20), 40, delay=100, dispose=1),
        ]
        # Pillow paints what is disposed of in the background colour; libvips and every browser clear it.
        judges = ("vips", "hand") if dispose == 2 else ("pillow", "vips", "hand")
        add(f"disposal-{dispose}", frames, loop=5, palette=colours, animated=True, judges=judges)
    add("for-ever", [frame(delay=10), frame(patch, 50, delay=10)], loop=0, palette=colours, animated=True)
    add("once", [frame(delay=10), frame(patch, 50, delay=10)], palette=colours, animated=True)
    odd = [frame(shift=shift, delay=delay) for shift, delay in ((0, 0), (9, 1), (18, 2), (27, 65_535))]
    add("odd-delays", odd, loop=1, palette=colours, animated=True)
    begins = [
        frame(patch, 1, delay=10, dispose=2, transparent=250),
        frame(place, 30, delay=10, dispose=3, transparent=250),
        frame(patch, 60, delay=10, transparent=250),
    ]
    # Where no frame has drawn, browsers show nothing, libvips the background colour of a table that is not kept.
    add("begins-with-a-part", begins, loop=0, palette=colours, animated=True, judges=("hand",))


def webp(cases):
    """By libwebp."""
    photo, clear = Image.fromarray(scene.photo(WIDTH, HEIGHT)), Image.fromarray(scene.rgba(WIDTH, HEIGHT))

    def add(name, image, kind="near", animated=False, **options):
        cases.add(f"webp/{name}", "image/webp", saved(image, "WEBP", **options), kind, animated=animated)

    add("lossy", photo, quality=90)
    add("lossy-alpha", clear, quality=90)
    add("lossless", photo, "exact", lossless=True)
    add("lossless-alpha", clear, "exact", lossless=True, exact=True)
    # libwebp does not say that Pillow's EXIF turns it: Pillow does, libvips too.
    add("orientation-6", photo, quality=90, exif=orientation(6))
    add("orientation-3", photo, "exact", lossless=True, exif=orientation(3))
    add("icc-display-p3", photo, "colour", quality=92, icc_profile=profiles()["display-p3"])
    add("icc-swapped-alpha", clear, "colour", lossless=True, icc_profile=profiles()["swapped"])
    first, *rest = moving(4)
    times = [70, 130, 30, 1001]
    moves = {"save_all": True, "append_images": rest, "duration": times, "animated": True}
    add("animated-lossless", first, "exact", lossless=True, loop=3, **moves)
    add("animated-lossy", first, quality=85, loop=0, **moves)
    add("animated-mixed", first, quality=85, loop=0, allow_mixed=True, kmax=1, **moves)


def bmp(cases):
    """By Pillow, and by hand what it does not write."""
    photo = Image.fromarray(scene.photo(WIDTH, HEIGHT))

    def add(name, data, kind="exact"):
        cases.add(f"bmp/{name}", "image/bmp", data, kind, ("pillow",))

    add("rgb", saved(photo, "BMP"))
    add("grey", saved(photo.convert("L"), "BMP"))
    add("one-bit", saved(photo.convert("1"), "BMP"))
    add("palette", saved(photo.quantize(64), "BMP"))
    pixels = np.asarray(photo)
    add("top-down", raw.bmp(WIDTH, HEIGHT, 24, 0, raw.bmp_rows(pixels[::-1, :, ::-1]), top_down=True))
    five = (pixels[..., 0].astype("<u2") >> 3 << 11) | (pixels[..., 1].astype("<u2") >> 2 << 5) | (pixels[..., 2] >> 3)
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    add("rgb-565", raw.bmp(WIDTH, HEIGHT, 16, 3, raw.bmp_rows(five.astype("<u2")), masks=masks), "rounded")
    four = np.dstack([pixels[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)])
    add("rgbx-32", raw.bmp(WIDTH, HEIGHT, 32, 0, raw.bmp_rows(four)))
    clear = np.dstack([pixels[..., ::-1], scene.alpha(WIDTH, HEIGHT)])
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    add("rgba-32-v4", raw.bmp(WIDTH, HEIGHT, 32, 3, raw.bmp_rows(clear), masks=masks, header=108))
    indices = np.asarray(photo.convert("L")) >> 4
    table = b"".join(bytes([i * 16, 255 - i * 16, i * 7, 0]) for i in range(16))
    runs = b"".join(b"".join(bytes([1, i]) for i in row) + b"\0\0" for row in indices[::-1]) + b"\0\x01"
    add("rle-8", raw.bmp(WIDTH, HEIGHT, 8, 1, runs, palette=table))


def tiff(cases):
    """By libtiff through Pillow and libvips."""
    photo = Image.fromarray(scene.photo(WIDTH, HEIGHT))
    clear = Image.fromarray(scene.rgba(WIDTH, HEIGHT))

    def add(name, data, kind="exact", judges=("pillow", "vips"), **more):
        cases.add(f"tiff/{name}", "image/tiff", data, kind, judges, **more)

    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        add(f"rgb-{compression or 'raw'}".replace("tiff_", ""), saved(photo, "TIFF", compression=compression))
    add("grey", saved(photo.convert("L"), "TIFF"))
    add("palette", saved(photo.quantize(32), "TIFF"))
    add("one-bit", saved(photo.convert("1"), "TIFF"))
    add("rgba", saved(clear, "TIFF"))
    add("cmyk", saved(photo.convert("CMYK"), "TIFF"), judges=("pillow",), kind="near")
    add("icc-display-p3", saved(photo, "TIFF", icc_profile=profiles()["display-p3"]), "colour")
    for value in range(1, 9):
        add(f"orientation-{value}", saved(photo, "TIFF", tiffinfo={0x0112: value}))
    pixels = pyvips.Image.new_from_array(np.asarray(photo)).copy(interpretation="srgb")
    add("tiled", pixels.tiffsave_buffer(tile=True, tile_width=32, tile_height=32, compression="deflate"))
    add("predictor", pixels.tiffsave_buffer(compression="lzw", predictor="horizontal"))
    deep = (pixels.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    add("rgb-16", deep.tiffsave_buffer(), "rounded", ("vips",))
    add("big", pixels.tiffsave_buffer(bigtiff=True))
    pages = {"save_all": True, "append_images": [photo.rotate(90), photo.rotate(180)]}
    add("three-pages", saved(photo, "TIFF", **pages), pages=3)


def ico(cases):
    """By Pillow: the largest image of an icon is the image."""
    clear = Image.fromarray(scene.rgba(64, 64))
    sizes = [(16, 16), (64, 64), (32, 32)]
    cases.add("ico/png", "image/x-icon", saved(clear, "ICO", sizes=sizes), "exact", ("pillow",))
    data = saved(clear, "ICO", sizes=sizes, bitmap_format="bmp")
    cases.add("ico/bitmap", "image/x-icon", data, "exact", ("pillow",))


def avif(cases):
    """By libaom."""
    photo, clear = Image.fromarray(scene.photo(WIDTH, HEIGHT)), Image.fromarray(scene.rgba(WIDTH, HEIGHT))

    def add(name, image, kind="near", **options):
        cases.add(f"avif/{name}", "image/avif", saved(image, "AVIF", **options), kind)

    add("420", photo, quality=85, subsampling="4:2:0")
    add("444", photo, quality=85, subsampling="4:4:4")
    add("grey", photo.convert("L"), quality=85)
    add("alpha", clear, quality=85, subsampling="4:4:4")
    for value in range(1, 9):
        add(f"orientation-{value}", photo, quality=85, subsampling="4:4:4", exif=orientation(value))
    add("icc-display-p3", photo, "colour", quality=90, subsampling="4:4:4", icc_profile=profiles()["display-p3"])
    add("limited-range", photo, quality=85, range="limited")
    deep = pyvips.Image.new_from_array(np.asarray(photo)).copy(interpretation="srgb")
    deep = (deep.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    data = deep.heifsave_buffer(compression="av1", bitdepth=10, Q=85, subsample_mode="off")
    cases.add("avif/ten-bits", "image/avif", data, "near", ("vips", "pillow"))
