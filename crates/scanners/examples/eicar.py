#!/usr/bin/env python3
"""Finds the EICAR test file in plain bytes and in zip archives. The object is standard input."""
import io, json, sys, zipfile

MARK = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
INFECTED, CLEAN = {"verdict": "infected", "signature": "Eicar-Test"}, {"verdict": "clean"}

def judge(file, tail=b""):
    while chunk := file.read(1 << 20):
        if MARK in tail + chunk:
            return INFECTED
        tail = chunk[-len(MARK):]
    if not zipfile.is_zipfile(file):
        return CLEAN
    archive = zipfile.ZipFile(file)
    if any(member.flag_bits & 1 for member in archive.infolist()):
        return {"verdict": "held", "reason": "encrypted", "detail": "a member of the archive is encrypted"}
    if sum(member.file_size for member in archive.infolist()) > 64 << 20:
        return {"verdict": "held", "reason": "scan-limits", "detail": "more than 64 MiB in the archive"}
    verdicts = (judge(io.BytesIO(archive.read(member))) for member in archive.infolist())
    return next((verdict for verdict in verdicts if verdict != CLEAN), CLEAN)

print("eicar-py 1.0" if sys.argv[1:] == ["--version"] else json.dumps(judge(open(0, "rb"))))
