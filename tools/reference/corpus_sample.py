"""Makes tests/gold/corpus: a small sample of a corpus in six languages.

    corpus_sample.py CORPUS FOLDER

CORPUS holds SOURCES.tsv and one KEY.jsonl.zst for each source; recipes/nano names where the
texts come from.  Documents are taken in the order of the SHA-256 of their id until a source's
share is full; of one longer than LONGEST only the beginning, up to a line's end, is taken and
"cut" says so.  Needs zstdcat.
"""
import csv
import hashlib
import json
import os
import subprocess
import sys

LONGEST = 12000
# Bytes of text for each source, by language; only CC0, CC BY and public domain.
SHARES = {
    "nsmc": {"ko": 130000}, "msdocs-sql-ko": {"ko": 90000}, "msdocs-vs-ko": {"ko": 60000},
    "msdocs-cpp-ko": {"ko": 40000}, "eltec-eng": {"en": 140000}, "taskmaster4": {"en": 40000},
    "storybooks-pratham": {"en": 50000}, "eltec-spa": {"es": 120000},
    "msdocs-cpp-es": {"es": 90000}, "eltec-deu": {"de": 120000}, "msdocs-cpp-de": {"de": 90000},
    "aozora": {"ja": 160000}, "msdocs-cpp-ja": {"ja": 90000}, "khudocmo": {"vi": 100000},
    "msdocs-office-vi": {"vi": 70000},
    "storybooks-by3": {"de": 15000, "en": 15000, "es": 15000, "ja": 15000, "ko": 15000,
                       "vi": 15000},
    "tldr": {"de": 15000, "en": 40000, "es": 15000, "ja": 15000, "ko": 25000},
}
LEFT_OUT = {"tldr-006450"}                # about a package registry's web service
KEYS = ("id", "lang", "source", "path", "license", "text", "attribution", "translation")


def documents(path):
    with subprocess.Popen(["zstdcat", path], stdout=subprocess.PIPE) as unpack:
        yield from map(json.loads, unpack.stdout)


def cut(doc):
    text = doc["text"].encode("utf-8")
    if len(text) <= LONGEST:
        return {k: doc[k] for k in KEYS if k in doc}
    end = text.rfind(b"\n", 0, LONGEST)
    text = text[:end if end > 0 else LONGEST].decode("utf-8", errors="ignore")
    return {**{k: doc[k] for k in KEYS if k in doc}, "text": text, "cut": True}


def sample(corpus, source, shares):
    docs = sorted((d for d in documents(os.path.join(corpus, source + ".jsonl.zst"))
                   if d["lang"] in shares),
                  key=lambda d: hashlib.sha256(d["id"].encode()).digest())
    left = dict(shares)
    for doc in docs:
        taken = cut(doc)
        size = len(taken["text"].encode("utf-8"))
        if size <= left[doc["lang"]]:
            left[doc["lang"]] -= size
            if doc["id"] not in LEFT_OUT:
                yield taken


def main():
    corpus, folder = sys.argv[1:3]
    with open(os.path.join(corpus, "SOURCES.tsv"), encoding="utf-8", newline="") as f:
        sources = {row["key"]: row for row in csv.DictReader(f, delimiter="\t")}
    taken = [doc for key, shares in SHARES.items() for doc in sample(corpus, key, shares)]
    taken.sort(key=lambda d: d["id"])
    with open(os.path.join(folder, "sample.jsonl"), "w", encoding="utf-8", newline="\n") as f:
        for doc in taken:
            f.write(json.dumps(doc, ensure_ascii=False) + "\n")
    with open(os.path.join(folder, "ATTRIBUTION.tsv"), "w", encoding="utf-8", newline="\n") as f:
        f.write("key\trepository\tcommit\tlicence\tattribution\tdocuments taken\tbytes taken\n")
        for key in sorted(SHARES):
            mine = [d for d in taken if d["source"] == key]
            size = sum(len(d["text"].encode("utf-8")) for d in mine)
            row = sources[key]
            f.write("\t".join([key, row["repository"], row["commit"], row["licence"],
                               row["attribution"], str(len(mine)), str(size)]) + "\n")


if __name__ == "__main__":
    main()
