"""The bench's files, and what libvips and Pillow need for them: one JSON object a line, one answer a line.

    {"op": "make", "folder": F}                  writes the files and answers their list
    {"op": "run", "by": D, "path": P, "as": T}   decodes P and encodes it as T ("jpeg", "png", "webp", "gif")

Both run inside this process, so that nobody's start-up counts, on one thread and without a cache.
"""

import io
import json
import os
import sys
import time

import numpy as np
import pyvips
from PIL import Image, ImageSequence

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "oracle"))
import scene

Image.MAX_IMAGE_PIXELS = None
pyvips.cache_set_max(0)
QUALITY = 85


def make(folder):
    """Photos of two sizes, a screenshot, an animation, an icon."""

    def photo(width, height):
        return Image.fromarray(scene.photo(width, height))

    large, middle, small = photo(4000, 3000), photo(2448, 1632), photo(1920, 1080)
    moving = [Image.fromarray(np.roll(scene.photo(480, 360), 12 * step, axis=1)).quantize(128) for step in range(20)]
    listed = []

    def add(name, kind, image, **options):
        path = os.path.join(folder, name.replace(" ", "-"))
        image.save(path, kind, **options)
        listed.append({"name": name, "as": kind.lower(), "path": path})

    add("JPEG 12 MP", "JPEG", large, quality=92)
    add("JPEG 2 MP", "JPEG", small, quality=92)
    add("PNG 12 MP photo", "PNG", large)
    add("PNG 4 MP photo", "PNG", middle)
    add("PNG 2 MP photo", "PNG", small)
    add("PNG 2 MP screenshot", "PNG", Image.fromarray(scene.screenshot(1920, 1080)))
    add("WebP 3 MP", "WEBP", photo(2048, 1536), quality=88)
    add("GIF 20 frames", "GIF", moving[0], save_all=True, append_images=moving[1:], duration=50, loop=0)
    add("PNG 64 x 64", "PNG", photo(64, 64))
    return listed


def with_vips(data, kind):
    """Metadata dropped, 4:2:0 as its default is at this quality."""
    options = {"n": -1} if kind == "gif" else {}
    image = pyvips.Image.new_from_buffer(data, "", access="sequential", **options)
    if kind in ("jpeg", "webp"):
        return image.write_to_buffer(f".{kind.replace('jpeg', 'jpg')}", Q=QUALITY, keep="none")
    return image.write_to_buffer(f".{kind}", keep="none")


def with_pillow(data, kind):
    """With Pillow's defaults."""
    image = Image.open(io.BytesIO(data))
    out = io.BytesIO()
    if kind == "gif":
        first, *rest = [frame.copy() for frame in ImageSequence.Iterator(image)]
        first.save(out, "GIF", save_all=True, append_images=rest, duration=50, loop=0)
    else:
        options = {"quality": QUALITY} if kind in ("jpeg", "webp") else {}
        image.save(out, kind.upper(), **options)
    return out.getvalue()


def run(request):
    """One image, from bytes to bytes."""
    with open(request["path"], "rb") as file:
        data = file.read()
    work = with_vips if request["by"] == "libvips" else with_pillow
    cpu, wall = time.process_time(), time.perf_counter()
    made = work(data, request["as"])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_ms": cpu * 1000, "wall_ms": wall * 1000, "bytes": len(made)}


for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(make(request["folder"]) if request["op"] == "make" else run(request)), flush=True)
