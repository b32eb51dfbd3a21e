"""Pictures to write into files: deterministic, and as hard to compress as a photo or as easy as a screenshot."""

import numpy as np


def photo(width, height, seed=1):
    """Light, blurred clouds, sharp edges and a little grain, in RGB."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 90 + 80 * x / max(width, 1) + 50 * y / max(height, 1)
    picture = np.stack([light, light * 0.8 + 20, 220 - light * 0.7], axis=-1)
    for octave, strength in ((4, 50), (16, 35), (64, 18), (256, 9)):
        grid = chance.normal(size=(octave + 1, octave + 1, 3)).astype(np.float32)
        picture += strength * stretch(grid, width, height) * 0.6
    for _ in range(12):
        cx, cy = chance.uniform(0, width), chance.uniform(0, height)
        radius = chance.uniform(0.03, 0.16) * min(width, height)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        picture[inside] = picture[inside] * 0.35 + chance.uniform(0, 255, 3) * 0.65
    picture += chance.normal(scale=2.5, size=(height, width, 1)).astype(np.float32)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def stretch(grid, width, height):
    """A grid of random numbers over the whole picture, interpolated along both sides."""
    rows, columns = np.linspace(0, grid.shape[0] - 1, height), np.linspace(0, grid.shape[1] - 1, width)
    top, left = np.minimum(rows.astype(int), grid.shape[0] - 2), np.minimum(columns.astype(int), grid.shape[1] - 2)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    grid = grid[top] * (1 - down) + grid[top + 1] * down
    return grid[:, left] * (1 - right) + grid[:, left + 1] * right


def screenshot(width, height, seed=2):
    """Flat panels with lines of what looks like text, in RGB."""
    chance = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 250, np.uint8)
    for _ in range(24):
        x, y = chance.integers(0, width), chance.integers(0, height)
        w, h = chance.integers(width // 12 + 1, width // 3 + 2), chance.integers(height // 12 + 1, height // 3 + 2)
        picture[y : y + h, x : x + w] = chance.choice([[235, 240, 250], [30, 34, 42], [66, 133, 244], [240, 240, 240]])
    for line in range(8, height - 12, 18):
        at = 12
        while at < width - 40:
            for _ in range(chance.integers(2, 11)):
                glyph = chance.random((9, 6)) < 0.4
                place = picture[line : line + 9, at : at + 6]
                place[glyph[: place.shape[0], : place.shape[1]]] = (40, 40, 48)
                at += 7
            at += 6
    return picture


def alpha(width, height):
    """Clear at the left, half clear in waves, opaque at the right."""
    y, x = np.mgrid[0:height, 0:width]
    wave = 127 + 120 * np.sin(x / 9.0) * np.cos(y / 7.0)
    return np.where(x < width // 5, 0, np.where(x > width * 4 // 5, 255, wave)).astype(np.uint8)


def rgba(width, height, seed=3):
    """A photo with alpha."""
    return np.dstack([photo(width, height, seed), alpha(width, height)])
