"""Files that are two things at once, with the words that must not be in what is made of them."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

import cases
import raw
import scene

SCRIPT = b"<script>alert('lazaret')</script>"
CALL = b"=1;alert(document.domain)//"
HTML = b"<html><body onload=alert(1)>"


def write(folder):
    """Writes them all and answers their list."""
    listed = []
    for name, media_type, data, payloads in files():
        path = os.path.join(folder, name.replace(" ", "-"))
        with open(path, "wb") as file:
            file.write(data)
        listed.append({"name": name, "type": media_type, "path": path, "payloads": [p.hex() for p in payloads]})
    return listed


def archive():
    """A zip whose member is stored, as a jar is run from."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), "Main-Class: Lazaret\r\n")
    return out.getvalue()


def files():
    """Name, type, bytes, payloads."""
    photo, clear = Image.fromarray(scene.photo(96, 64)), Image.fromarray(scene.rgba(96, 64))
    saved, jar = cases.saved, archive()
    parts = [b"PK\x03\x04", b"META-INF/MANIFEST.MF", b"Main-Class: Lazaret", b"PK\x05\x06"]
    jpeg, png, gif, webp = saved(photo, "JPEG"), saved(photo, "PNG"), saved(photo.quantize(64), "GIF"), saved(photo, "WEBP")
    trailing = jar + HTML + SCRIPT
    ends = [*parts, HTML, SCRIPT]
    for kind, data in {
        "jpeg": jpeg,
        "png": png,
        "gif": gif,
        "webp": webp,
        "bmp": saved(photo, "BMP"),
        "tiff": saved(photo, "TIFF"),
        "x-icon": saved(clear.resize((64, 64)), "ICO"),
        "avif": saved(photo, "AVIF"),
    }.items():
        yield f"{kind} with what trails", f"image/{kind}", data + trailing, ends
    yield from jpegs(jpeg, jar, parts)
    yield from pngs(photo, clear)
    yield from gifs()
    yield from riffs(webp)
    yield from written_in_pixels()
    yield from documents(jar, parts)


def jpegs(jpeg, jar, parts):
    """Segments, and what the tables say."""

    def segment(marker, data):
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    metadata = segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0GPS " + SCRIPT)
    metadata += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SCRIPT)
    metadata += segment(0xE2, b"ICC_PROFILE\0\x01\x01" + SCRIPT) + segment(0xED, b"Photoshop 3.0\0" + SCRIPT)
    metadata += segment(0xFE, HTML) + segment(0xFE, jar)
    names = [b"Exif\0\0", b"ns.adobe.com", b"ICC_PROFILE", b"Photoshop 3.0", SCRIPT, HTML, *parts]
    yield "jpeg with metadata", "image/jpeg", jpeg[:2] + metadata + jpeg[2:], names
    at = jpeg.index(b"\xff\xdb") + 5
    table = (SCRIPT * 2)[:64]
    yield "jpeg whose quantisation spells", "image/jpeg", jpeg[:at] + table + jpeg[at + 64 :], [SCRIPT, b"<script>"]
    profile = raw.profile(raw.DISPLAY_P3, 2.2) + SCRIPT
    profile = struct.pack(">I", len(profile)) + profile[4:]
    profiled = segment(0xE2, b"ICC_PROFILE\0\x01\x01" + profile)
    yield "jpeg with a profile that works", "image/jpeg", jpeg[:2] + profiled + jpeg[2:], [SCRIPT, b"acsp", b"mntrRGB"]


def pngs(photo, clear):
    """Chunks, palettes, streams."""
    pixels = np.asarray(photo)
    texts = raw.chunk(b"tEXt", b"Comment\0" + SCRIPT) + raw.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SCRIPT)
    texts += raw.chunk(b"zTXt", b"c\0\0" + zlib.compress(SCRIPT)) + raw.chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + SCRIPT)
    texts += raw.chunk(b"prVt", HTML)
    names = [SCRIPT, HTML, b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"prVt"]
    yield "png with texts", "image/png", raw.png(pixels, 2, 8, extra=texts), names
    colours = (SCRIPT + CALL).ljust(192, b" ")
    indices = np.asarray(photo.convert("L"))[..., None] >> 2
    yield "png whose palette spells", "image/png", raw.png(indices, 3, 8, extra=raw.chunk(b"PLTE", colours)), [SCRIPT, b"<script>"]
    plain = raw.png(pixels, 2, 8, filters=(0,))
    after = raw.chunk(b"IDAT", SCRIPT)
    yield "png with more than its pixels", "image/png", plain[:-12] + after + plain[-12:], [SCRIPT]
    moves = [clear.rotate(90, expand=False), clear.rotate(180)]
    moving = cases.saved(clear, "PNG", save_all=True, append_images=moves, duration=50)
    yield "moving png with texts", "image/png", moving[:33] + texts + moving[33:], names
    # IDAT of stored blocks: the rows stand in the file as they are.
    text = SCRIPT.ljust(36, b" ")
    rows = b"".join(b"\0" + text for _ in range(40))
    header = struct.pack(">IIBBBBB", 12, 40, 8, 2, 0, 0, 0)
    stored = raw.chunk(b"IHDR", header) + raw.chunk(b"IDAT", zlib.compress(rows, 0)) + raw.chunk(b"IEND", b"")
    yield "png that stores its text", "image/png", b"\x89PNG\r\n\x1a\n" + stored, [SCRIPT, b"<script>"]


def gifs():
    """The width is "/*": GIF89a/*…*/=1;alert(…). A width stays what it is; what would close the comment must not."""
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    spelling = (b"*/" + CALL + SCRIPT).ljust(192, b" ")
    colours = [tuple(spelling[i : i + 3]) for i in range(0, 192, 3)]
    comment = b"\x21\xfe" + bytes([len(CALL)]) + CALL + b"\0" + b"\x21\xff\x0bXMP DataXMP" + bytes([len(SCRIPT)]) + SCRIPT + b"\0"
    image = raw.gif(0x2A2F, 8, [{"indices": grey}], palette=colours)
    data = image[: 13 + 192] + comment + image[13 + 192 : -1] + b"\x3b*/" + CALL + SCRIPT
    yield "gif that is a script", "image/gif", data, [CALL, SCRIPT, b"*/=1;", b"XMP Data"]
    moving = raw.gif(8, 8, [{"indices": grey, "delay": 9}, {"indices": grey[::-1], "palette": colours}], loop=0, palette=colours)
    yield "moving gif whose palettes spell", "image/gif", moving, [CALL, SCRIPT]
    text = np.frombuffer(SCRIPT, np.uint8).reshape(1, -1)
    names = [(i, 255 - i, i // 2) for i in range(256)]
    yield "gif whose indices spell", "image/gif", raw.gif(len(SCRIPT), 1, [{"indices": text}], palette=names), [SCRIPT]


def riffs(webp):
    """Chunks of names of our own."""

    def chunk(name, data):
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    image = webp[12:]
    extended = chunk(b"VP8X", b"\x0c\0\0\0" + struct.pack("<I", 95)[:3] + struct.pack("<I", 63)[:3])
    body = b"WEBP" + extended + image + chunk(b"EXIF", SCRIPT) + chunk(b"XMP ", SCRIPT) + chunk(b"evil", HTML)
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    yield "webp with metadata", "image/webp", data, [SCRIPT, HTML, b"EXIF", b"XMP ", b"evil"]


def written_in_pixels():
    """Rows whose bytes are text."""
    text = (SCRIPT * 40)[: 120 * 3]
    pixels = np.tile(np.frombuffer(text, np.uint8).reshape(1, 120, 3), (80, 1, 1))
    yield "png written in pixels", "image/png", raw.png(pixels, 2, 8, filters=(0,)), [SCRIPT, b"<script"]
    bitmap = raw.bmp(120, 80, 24, 0, raw.bmp_rows(pixels))
    yield "bmp written in pixels", "image/bmp", bitmap, [SCRIPT, b"<script"]
    grey = np.tile(np.frombuffer(SCRIPT * 4, np.uint8), (40, 1))
    yield "tiff written in pixels", "image/tiff", cases.saved(Image.fromarray(grey), "TIFF"), [SCRIPT, b"<script"]
    chance = np.random.default_rng(6).integers(0, 256, (64, 64, 3), np.uint8)
    chance[20].flat[: len(SCRIPT)] = np.frombuffer(SCRIPT, np.uint8)
    noise = raw.png(chance, 2, 8, filters=(0,))
    yield "png of noise with one line of text", "image/png", noise, [SCRIPT, b"<script"]
    yield "webp written in pixels", "image/webp", cases.saved(Image.fromarray(pixels), "WEBP", lossless=True), [SCRIPT, b"<script"]


def documents(jar, parts):
    """What is sanitised or drawn."""
    svg = b"""<?xml version="1.0"?><?xml-stylesheet href="http://evil.example/x.css"?>
<!DOCTYPE svg [<!ENTITY e "&#60;script>alert(1)</script>">]>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="30" onload="alert('on')">
<script>alert('plain')</script><style>@import url(http://evil.example/y.css);</style>
<rect width="20" height="10" fill="red" onclick="alert('click')"/>
<a href="javascript:alert('link')"><circle cx="25" cy="15" r="8" fill="blue"/></a>
<foreignObject width="9" height="9"><body xmlns="http://www.w3.org/1999/xhtml" onload="alert('foreign')">x</body></foreignObject>
<image href="http://evil.example/z.png" width="3" height="3"/><use href="http://evil.example/w.svg#x"/>
<animate attributeName="href" to="javascript:alert('animate')"/><set attributeName="onclick" to="alert('set')"/>
</svg>"""
    words = [b"<script", b"alert", b"javascript:", b"evil.example", b"foreignObject", b"onload", b"onclick", b"ENTITY"]
    yield "svg with scripts", "image/svg+xml", svg.replace(b"""<!DOCTYPE svg [<!ENTITY e "&#60;script>alert(1)</script>">]>\n""", b""), words
    yield "svg with entities", "image/svg+xml", svg, words
    yield "pdf with actions and a zip", "application/pdf", pdf() + jar, [
        *parts,
        b"app.alert",
        b"/JavaScript",
        b"/Launch",
        b"/OpenAction",
        b"/AA",
        b"/EmbeddedFile",
        b"/XFA",
        b"/RichMedia",
        b"cmd.exe",
    ]


def pdf():
    """One page with every kind of action."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction 4 0 R /AA << /WC 4 0 R >> /Names << /JavaScript << /Names [(a) 4 0 R] >>"
        b" /EmbeddedFiles << /Names [(f) 6 0 R] >> >> /AcroForm << /XFA 7 0 R /Fields [] >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 5 0 R /AA << /O 4 0 R >> /Annots [8 0 R 9 0 R] >>",
        b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>",
        b"<< /Length 33 >>\nstream\n0 0 1 rg 20 20 100 50 re f       \nendstream",
        b"<< /Type /Filespec /F (evil.exe) /EF << /F 7 0 R >> >>",
        b"<< /Type /EmbeddedFile /Length 7 >>\nstream\ncmd.exe\nendstream",
        b"<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /Launch /F (cmd.exe) >> >>",
        b"<< /Type /Annot /Subtype /RichMedia /Rect [0 0 9 9] >>",
    ]
    out, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += str(number).encode() + b" 0 obj\n" + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return out + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
