"""Decodes files the way their viewers would: all frames composed, upright, in sRGB, eight bits, with alpha."""

import io

import numpy as np
import pyvips
from PIL import Image, ImageCms, ImageOps, ImageSequence

import hand

Image.MAX_IMAGE_PIXELS = None
SRGB = ImageCms.createProfile("sRGB")


class Sight:
    """Frames as arrays of height x width x 4, and how they are shown."""

    def __init__(self, frames, delays, loop):
        self.frames, self.delays, self.loop = frames, delays, loop

    def facts(self):
        """What can be said without pixels. Delays are in milliseconds, a loop of 0 runs for ever."""
        height, width = self.frames[0].shape[:2]
        return {"width": width, "height": height, "frames": len(self.frames), "delays": self.delays, "loop": self.loop}

    def altered(self, copy, request):
        """Its frames after what a policy does to them."""
        frames = self.frames[:1] if request.get("first") else self.frames
        if "background" in request:
            frames = [flatten(frame, request["background"]) for frame in frames]
        if request.get("fit"):
            height, width = copy.frames[0].shape[:2]
            frames = [shrink(frame, width, height) for frame in frames]
        return frames


def see(by, path, strict=False):
    """The file as `by` decodes it."""
    with open(path, "rb") as file:
        data = file.read()
    if by == "hand":
        return Sight(*hand.gif(data)) if data[:4] == b"GIF8" else with_pillow(data)
    return with_pillow(data) if by == "pillow" else with_vips(data, strict)


def with_pillow(data):
    """Pillow: libjpeg-turbo, libwebp, libavif, LittleCMS, and its own PNG, GIF, BMP, TIFF and ICO."""
    image = Image.open(io.BytesIO(data))
    if image.format not in ("GIF", "PNG", "WEBP"):
        return Sight([still(image)], [], None)
    if getattr(image, "n_frames", 1) == 1:
        return Sight([still(image)], [int(image.info.get("duration", 0))], image.info.get("loop"))
    if image.format == "PNG":
        return Sight(*hand.apng(data))
    frames, delays = [], []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        delays.append(round(frame.info.get("duration", 0)))
        frames.append(np.asarray(frame.convert("RGBA")))
    return Sight(frames, delays, image.info.get("loop"))


def still(image):
    """One image, upright and in sRGB."""
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(np.round(np.asarray(image).astype(float) / 257).astype(np.uint8))
    if profile and is_plausible(profile) and image.mode in ("RGB", "RGBA", "CMYK", "L", "P", "LA"):
        image = to_srgb(image, profile)
    return np.asarray(image.convert("RGBA"))


def is_plausible(profile):
    """Whether its primaries, if it has any, make a white together. Browsers leave others out (qcms:
    `qcms_profile_is_bogus`); LittleCMS calculates with any number."""
    total = np.zeros(3)
    for at in range(132, 132 + 12 * min(int.from_bytes(profile[128:132], "big"), 100), 12):
        place = int.from_bytes(profile[at + 4 : at + 8], "big")
        colour = profile[place + 8 : place + 20]
        if profile[at : at + 4] in (b"rXYZ", b"gXYZ", b"bXYZ") and len(colour) == 12:
            total += np.frombuffer(colour, ">i4") / 65536
    return not total.any() or bool((abs(total - (0.9642, 1.0, 0.8249)) <= 0.3).all())


def to_srgb(image, profile):
    """Colours by LittleCMS; alpha stays what it is."""
    alpha = image.convert("RGBA").getchannel("A") if image.mode in ("RGBA", "P", "LA") else None
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    colours = image.convert({"GRAY": "L", "CMYK": "CMYK"}.get(space, "RGB"))
    flags = ImageCms.Flags.NONE
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    done = ImageCms.profileToProfile(colours, source, SRGB, renderingIntent=intent, outputMode="RGB", flags=flags)
    if alpha is not None:
        done.putalpha(alpha)
    return done


def with_vips(data, strict):
    """libvips: libjpeg-turbo, libspng, nsgif, libwebp, libtiff, libheif and LittleCMS."""
    options = {"fail_on": "warning"} if strict else {}
    if data[:4] == b"GIF8" or data[8:12] == b"WEBP":
        options["n"] = -1
    image = pyvips.Image.new_from_buffer(data, "", **options)
    fields = image.get_fields()
    pages = image.get("n-pages") if "n-pages" in fields and "n" in options else 1
    if pages == 1:
        image = image.autorot()
    if "icc-profile-data" in fields and is_plausible(bytes(image.get("icc-profile-data"))):
        image = image.icc_transform("srgb", embedded=True, intent="relative")
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("srgb")
    if image.format != "uchar":
        image = image.cast("uchar", shift=image.format == "ushort")
    if image.bands < 3:
        grey = image.extract_band(0)
        image = grey.bandjoin([grey, grey] + ([image.extract_band(1)] if image.bands == 2 else []))
    if image.bands == 3:
        image = image.bandjoin(255)
    pixels = image.numpy()
    delays = image.get("delay") if "delay" in fields else []
    loop = image.get("loop") if "loop" in fields else None
    return Sight(list(pixels.reshape(pages, -1, pixels.shape[1], 4)), delays, loop)


def encoded(frame, options):
    """The frame after Pillow's own encoder with these settings."""
    out, image = io.BytesIO(), Image.fromarray(frame, "RGBA")
    (image.convert("RGB") if options["format"] == "JPEG" else image).save(out, **options)
    return np.asarray(Image.open(out).convert("RGBA"))


def flatten(frame, background):
    """The frame on a colour."""
    alpha = frame[..., 3:].astype(float) / 255
    colours = frame[..., :3] * alpha + np.array(background, float) * (1 - alpha)
    return np.dstack([np.round(colours), np.full(frame.shape[:2], 255)]).astype(np.uint8)


def shrink(frame, width, height):
    """The frame made smaller, with its alpha multiplied in meanwhile."""
    image = Image.fromarray(frame, "RGBA").convert("RGBa").resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image.convert("RGBA"))


def distance(expected, found):
    """How far frames are apart, the worst of them: peak signal to noise in dB on black and on white, CIE 1976 delta E
    on grey, and the largest differences of a sample and of alpha."""
    worst = {"psnr": 100.0, "delta_e": 0.0, "delta_e_99": 0.0, "sample": 0, "alpha": 0, "alpha_mean": 0.0}
    for a, b in zip(expected, found):
        if np.array_equal(a, b):
            continue
        alpha = np.abs(a[..., 3].astype(int) - b[..., 3])
        apart = delta_e(over(a, 128), over(b, 128))
        noise = min(psnr(over(a, ground), over(b, ground)) for ground in (0, 255))
        shown = np.maximum(np.abs(over(a, 0) - over(b, 0)), np.abs(over(a, 255) - over(b, 255)))
        worst["psnr"] = min(worst["psnr"], noise)
        worst["delta_e"] = max(worst["delta_e"], float(apart.mean()))
        worst["delta_e_99"] = max(worst["delta_e_99"], float(np.percentile(apart, 99)))
        worst["sample"] = max(worst["sample"], int(np.ceil(shown.max() - 1e-6)))
        worst["alpha"] = max(worst["alpha"], int(alpha.max()))
        worst["alpha_mean"] = max(worst["alpha_mean"], float(alpha.mean()))
    return worst


def over(frame, ground):
    """The frame on a grey."""
    alpha = frame[..., 3:].astype(np.float64) / 255
    return frame[..., :3] * alpha + ground * (1 - alpha)


def psnr(a, b):
    """In dB, at most 100."""
    square = np.mean((a - b) ** 2)
    return 100.0 if square == 0 else min(100.0, float(10 * np.log10(255**2 / square)))


def delta_e(a, b):
    """CIE 1976, pixel by pixel."""
    return np.sqrt(((lab(a) - lab(b)) ** 2).sum(axis=-1))


def lab(colours):
    """sRGB (IEC 61966-2-1) to CIE L*a*b* of D65."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    t = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > 216 / 24389, np.cbrt(t), t * 841 / 108 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
