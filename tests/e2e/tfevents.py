"""Reads TensorBoard event files from the format's definition alone: records with CRC-32C, and
as much protocol buffer decoding as events of scalars and texts need."""
import glob
import struct

TABLE = []
for _byte in range(256):
    _c = _byte
    for _ in range(8):
        _c = _c >> 1 ^ (0x82F63B78 if _c & 1 else 0)
    TABLE.append(_c)


def masked_crc(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = c >> 8 ^ TABLE[(c ^ byte) & 255]
    c ^= 0xFFFFFFFF
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        n, head = struct.unpack_from("<QI", data, at)
        assert masked_crc(data[at:at + 8]) == head, "wrong checksum of a length"
        body = data[at + 12:at + 12 + n]
        (tail,) = struct.unpack_from("<I", data, at + 12 + n)
        assert masked_crc(body) == tail, "wrong checksum of a message"
        yield body
        at += 16 + n


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """{field: [values]} of one message; bytes stay bytes."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        else:
            size, kind = {1: (8, "<d"), 5: (4, "<f")}[key & 7]
            (value,) = struct.unpack_from(kind, data, at)
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found


def read_run(folder):
    """({tag: {step: value}}, {tag: {step: text}}) of all files of a folder in their order;
    a file that says it starts again at a step replaces what the others said from there on."""
    scalars, texts = {}, {}
    for name in sorted(glob.glob(folder + "/events.out.tfevents.*")):
        with open(name, "rb") as f:
            events = [fields(body) for body in records(f.read())]
        assert events[0][3] == [b"brain.Event:2"], "the first record is the version"
        for event in events[1:]:
            assert event[1][0] > 1.5e9, "a time"
            step = event.get(2, [0])[0]
            for _ in event.get(7, []):
                for kind in (scalars, texts):
                    for points in kind.values():
                        for old in [s for s in points if s >= step]:
                            del points[old]
            for summary in event.get(5, []):
                for value in map(fields, fields(summary)[1]):
                    tag = value[1][0].decode()
                    if 2 in value:
                        scalars.setdefault(tag, {})[step] = value[2][0]
                    else:
                        texts.setdefault(tag, {})[step] = fields(value[8][0])[8][0].decode()
    return scalars, texts
