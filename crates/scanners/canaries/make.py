"""Writes the canaries in containers: a text that engines have a signature for, packed by each packer.

Needs 7z and zstd. The RAR is laid out by hand, as no free program writes one.
"""

import bz2
import gzip
import io
import lzma
import pathlib
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib

HERE = pathlib.Path(__file__).parent
# Found anywhere in a file, so it is never packed: an engine that does not unpack might find it all the same.
OWN = b"Lazaret-Canary-7f3c1d9e5b8a4c20-nothing-but-a-test"
# Found where it is the whole file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def packed_by(command, data):
    """What a packer that works on files makes of the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "canary").write_bytes(data)
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return (pathlib.Path(folder) / "packed").read_bytes()


def zip_of(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("canary"), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tar_of(data):
    member = tarfile.TarInfo("canary")
    member.size = len(data)
    return member.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b"\0") + bytes(1024)


def rar_of(data):
    """RAR 4 with one stored member."""

    def block(body):
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    name = b"canary"
    head = struct.pack(
        "<BHHIIBIIBBHI",
        0x74, 0x8000, 32 + len(name), len(data), len(data), 3, zlib.crc32(data), 0x21 << 16, 20, 0x30, len(name), 0o100644,
    )
    start = block(struct.pack("<BHHHI", 0x73, 0, 13, 0, 0))
    return b"Rar!\x1a\x07\x00" + start + block(head + name) + data + block(struct.pack("<BHH", 0x7B, 0x4000, 7))


(HERE / "own.plain").write_bytes(OWN)
CANARIES = {
    "plain": EICAR,
    "zip": zip_of(EICAR),
    "tar": tar_of(EICAR),
    "gz": gzip.compress(EICAR, mtime=0),
    "bz2": bz2.compress(EICAR),
    "xz": lzma.compress(EICAR),
    "7z": packed_by(["sh", "-c", "7z a -bd -mtm- packed.7z canary && mv packed.7z packed"], EICAR),
    "zst": packed_by(["zstd", "-q", "canary", "-o", "packed"], EICAR),
    "rar": rar_of(EICAR),
}
for kind, packed in CANARIES.items():
    (HERE / f"eicar.{kind}").write_bytes(packed)
