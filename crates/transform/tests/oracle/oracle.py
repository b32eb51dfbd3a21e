"""What other people's decoders see: Pillow and libvips, asked over standard input, one JSON object a line.

    {"op": "cases", "folder": F, "families": […]}  writes files of `cases.py` to F and answers their list
    {"op": "seeds", "folder": F}                   the same for `seeds.py`, what the hostile corpus is made of
    {"op": "polyglots", "folder": F}               the same for `polyglots.py`
    {"op": "compare", "by": D, "a": P, "b": P, …}  decodes both with D ("pillow", "vips" or "hand") and measures how far apart
                                                   they are; `background`, `first` and `fit` say what happened to A
                                                   on its way to B, `strict` that a warning of the decoder is an error,
                                                   `b_by` that another decoder looks at B, `b_plain`
                                                   that it does so without vector instructions; `encoder` are settings
                                                   for Pillow, which does the same to A (`reference`)
    {"op": "view", "by": D, "path": P}             decodes one file
    {"op": "inflated", "path": P, "to": Q}         writes to Q what the compressed chunks of a PNG hold

Every answer is one line as well; {"error": …, "side": "a" | "b"} where a file cannot be decoded.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

import numpy as np

import cases
import polyglots
import seeds
import sight


def compare(request):
    """A against B, both as `by` sees them."""
    seen = {}
    for side in "ab":
        try:
            by = request.get("b_by", request["by"]) if side == "b" else request["by"]
            if side == "b" and request.get("b_plain"):
                seen[side] = plainly(by, request[side])
            else:
                seen[side] = sight.see(by, request[side], strict=request.get("strict", False))
        except Exception as error:  # A decoder may raise anything; that it does is the answer.
            return {"error": f"{type(error).__name__}: {error}"[:200], "side": side}
    original, copy = seen["a"], seen["b"]
    expected = original.altered(copy, request)
    answer = {"a": original.facts(), "b": copy.facts()}
    if [frame.shape for frame in expected] != [frame.shape for frame in copy.frames]:
        answer["error"] = f"{[f.shape for f in expected][:3]} became {[f.shape for f in copy.frames][:3]}"
        answer["side"] = "b"
        return answer
    if request.get("encoder"):
        rivals = [sight.encoded(frame, request["encoder"]) for frame in expected]
        answer["reference"] = sight.distance(expected, rivals)
    return answer | sight.distance(expected, copy.frames)


def plainly(by, path):
    """The file in a process whose libjpeg-turbo uses no vector instructions, and so calculates with 32 bits, not 16."""
    code = "import sys, numpy, sight; numpy.save(sys.argv[3], numpy.stack(sight.see(*sys.argv[1:3]).frames))"
    with tempfile.TemporaryDirectory() as folder:
        to = os.path.join(folder, "frames.npy")
        here, plain = os.path.dirname(os.path.abspath(__file__)), os.environ | {"JSIMD_FORCENONE": "1"}
        subprocess.run([sys.executable, "-B", "-c", code, by, path, to], cwd=here, env=plain, check=True)
        return sight.Sight(list(np.load(to)), [], None)


def view(request):
    """One file."""
    try:
        return sight.see(request["by"], request["path"]).facts()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200], "side": "a"}


def inflated(request):
    """The filtered rows of every frame of a PNG, one behind the other."""
    with open(request["path"], "rb") as file:
        data = file.read()
    streams, at = {b"IDAT": b""}, 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            streams[kind] += body
        elif kind == b"fdAT":
            streams[at] = body[4:]
        at += length + 12
    rows = b"".join(zlib.decompressobj().decompress(stream) for stream in streams.values())
    with open(request["to"], "wb") as file:
        file.write(rows)
    return {"bytes": len(rows)}


def answer(request):
    """The answer to one line."""
    match request["op"]:
        case "cases":
            return cases.write(request["folder"], request["families"])
        case "seeds":
            return seeds.write(request["folder"])
        case "polyglots":
            return polyglots.write(request["folder"])
        case "inflated":
            return inflated(request)
        case "compare":
            return compare(request)
        case "view":
            return view(request)


def main():
    """Answers until the input ends."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
