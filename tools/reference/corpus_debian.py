"""More text for tokenizers than a corpus has: the documentation and translations in Debian's
packages, as JSONL.

    corpus_debian.py FOLDER [PACKAGE...]

Fetches each package with `apt-get download` (nothing is installed), takes the text out of its
HTML, help pages, manual pages, message catalogues, dictionaries and plain files, and writes
FOLDER/PACKAGE.jsonl.zst with "id", "text", "lang", "source", "path" and "license" (the short
names of its copyright file, which is kept as FOLDER/copyright/PACKAGE), and FOLDER/SOURCES.tsv
with versions and sizes.  Without PACKAGEs: those of the list below.

A paragraph of 60 bytes or more is taken once, a shorter one 40 times in a language; documents of
less than 200 bytes, and those that look like another language than their folder says, are left
out.  Needs apt-get, dpkg-deb and zstd; only what Debian has at that time can be had, so other
versions give other bytes.
"""
import gzip
import html
import json
import multiprocessing
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

PACKAGES = """
debian-handbook installation-guide-amd64 debian-reference-en debian-reference-de
debian-reference-es debian-reference-ja debian-faq debian-faq-de debian-faq-ja debian-faq-ko
debian-policy developers-reference developers-reference-de developers-reference-ja
debian-policy-ja maint-guide maint-guide-de maint-guide-es maint-guide-ja maint-guide-vi
debmake-doc debian-edu-doc-en debian-edu-doc-de debian-edu-doc-es debian-edu-doc-ja
aptitude-doc-en aptitude-doc-es aptitude-doc-ja libreoffice-help-en-us libreoffice-help-de
libreoffice-help-es libreoffice-help-ja libreoffice-help-ko libreoffice-help-vi
libreoffice-l10n-de libreoffice-l10n-es libreoffice-l10n-ja libreoffice-l10n-ko
libreoffice-l10n-vi gimp-help-en gimp-help-de gimp-help-es gimp-help-ja gimp-help-ko
gnome-user-docs gnucash-docs evolution-common gnucash-common khelpcenter okular kmymoney-common
umbrello-data cervisia calligra-data lilypond-doc-html lilypond-doc-html-de lilypond-doc-html-es
lilypond-doc-html-ja manpages manpages-dev manpages-de manpages-es manpages-ja manpages-ja-dev
manpages-vi systemd perl-doc openssl git nmap wesnoth-1.16-data freeciv-data kicad gimp-data
inkscape krita-l10n vlc-l10n plasma-workspace-data libglib2.0-data shotwell-common gcc-12-locales
util-linux-locales iso-codes kdevelop-l10n libvirt-l10n wordpress-l10n libc-l10n coreutils bash
tar findutils gnupg-l10n dpkg apt aptitude-common fortunes fortunes-de dict-gcide dict-jargon
dict-foldoc linux-doc-6.1 python3.11-doc python-django-doc python-pandas-doc python-scipy-doc
postgresql-doc-15 sqlite3-doc libboost1.74-doc cmake-doc rust-doc erlang-doc qtbase5-doc-html
qtdeclarative5-doc-html octave-doc gap-doc r-doc-html ghc-doc
"""
LONGEST = 65536
WANTED = ("en", "de", "es", "ja", "ko", "vi")
CODE = re.compile(r"([a-z]{2,3})(?:[_-][A-Za-z]{2,5})?(?:@\w+)?$")
# Folders whose next part is a language.
LOCAL = re.compile(r"/(?:locale|help|HTML|man|translations|resource)/([^/]+)/")
SUFFIX = re.compile(r"[./_-](de|es|ja|ko|vi|fr|it|ca|cs|hu|nl|pl|pt|ru|zh|pt_BR|pt-br|zh_CN|"
                    r"[a-z]{2}(?=-[A-Z]{2}/))(?:[_-][A-Z]{2})?(?=[./])")
SKIPPED = re.compile(r"/class-use/|/core_arch/|/core/arch/|/std/arch/|/src/|_sources/|-summary\.|"
                     r"Documentation/.*\.rst|changelog|genindex|/search|/_modules/|index-all|"
                     r"COPYING|NEWS|copyright|CHANGES|\.svg|\.js$")
COMMON = {"en": r"\b(?:the|and|of|is|to|in|are|for)\b",
          "de": r"\b(?:der|die|das|und|ist|nicht|den|ein|eine|werden|mit|für)\b",
          "es": r"\b(?:el|la|los|las|de|que|una|del|para|con|se|es)\b",
          "ja": "[\u3041-\u30ff]", "ko": "[\uac00-\ud7a3]",
          "vi": "[ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđ]"}
BLOCK = re.compile(r"</?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|tr|td|th|table|br|section|title|para|"
                   r"listitem|entry|row|item|note|screen|programlisting|blockquote|hr)\b[^>]*>",
                   re.I)
DROPPED = re.compile(r"<(script|style|nav|head|svg)\b.*?</\1\s*>|<!--.*?-->|<\?.*?\?>|<![^>]*>",
                     re.S | re.I)


def plain_of_markup(text):
    """Paragraphs on lines of their own; what stands in <pre> keeps its lines."""
    parts = re.split(r"<(pre|screen|code mime[^>]*)\b[^>]*>(.*?)</(?:pre|screen|code)\s*>",
                     DROPPED.sub(" ", text), flags=re.S | re.I)
    out = []
    for i in range(0, len(parts), 3):
        flat = BLOCK.sub("\n\n", re.sub(r"\s+", " ", parts[i]))
        out.append(re.sub(r" *\n *", "\n", html.unescape(re.sub(r"<[^>]*>", "", flat))))
        if i + 2 < len(parts):
            out.append("\n\n" + html.unescape(re.sub(r"<[^>]*>", "", parts[i + 2])) + "\n\n")
    return re.sub(r"&([\w.-]+);", r"\1", "".join(out))


def plain_of_man(text):
    """A manual page's words: requests away, what they were given stays."""
    text = re.sub(r'\\".*', "", text)
    text = re.sub(r"\\f(?:\[\w*\]|\(..|.)|\\s[+-]?\d|\\[|&^:%c,/]", "", text)
    text = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")
    text = re.sub(r"\\\((?:lq|rq)", '"', text)
    text = re.sub(r"\\\(..|\\\[[^]]*\]|\\\*\(..|\\[ ~0]", " ", text)
    lines = []
    for line in text.splitlines():
        request = re.match(r"[.']\s*(\w*) ?(.*)", line)
        if not request:
            lines.append(line)
        elif request[1] in ("SH", "SS", "TP", "PP", "IP", "P", "LP", "Sh", "Ss", "Pp", "It"):
            lines += ["", request[2].strip('"')]
        elif request[1] in ("B", "I", "BR", "IR", "RB", "BI", "RI", "Nm", "Nd", "Fl", "Ar", "Em"):
            lines.append(request[2].replace('"', ""))
    return "\n".join(lines)


def plain_of_mo(data):
    """The translations of a message catalogue, in its order."""
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    n, _, at = struct.unpack(order + "3I", data[8:20])
    texts = [struct.unpack(order + "2I", data[at + 8 * i:at + 8 * i + 8]) for i in range(n)]
    text = "\n\n".join(data[start:start + size].decode("utf-8").replace("\0", "\n\n")
                       for size, start in texts[1:])
    return re.sub(r"(?<=[^\W_])[_&](?=\w)|(?<!\w)[_&~](?=\w)", "", text)


def read(path):
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix in (".gz", ".dz") else data


def text_of(path):
    name = path.name.removesuffix(".gz")
    place = str(path)
    if name.endswith(".mo"):
        return plain_of_mo(read(path))
    if re.search(r"\.(x?html?|page|docbook)$", name):
        return plain_of_markup(read(path).decode("utf-8", errors="replace"))
    if "/man/" in place and re.search(r"\.[1-9]\w*$", name):
        return plain_of_man(read(path).decode("utf-8", errors="replace"))
    if name.endswith(".dict.dz") or "/games/fortunes/" in place and "." not in name or \
            "/usr/share/doc" in place and re.search(r"\.(txt|rst|md|pod)$", name) or \
            "/usr/share/perl" in place and name.endswith(".pod"):
        text = read(path).decode("utf-8", errors="replace")
        return re.sub(r"\n%\n", "\n\n", text)
    return None


def language(place, package):
    local = LOCAL.search(place)
    if local and not local[1].startswith("man"):
        code = CODE.match(local[1])
        return None if local[1].startswith("en_") else code[1] if code else "en"
    found = SUFFIX.findall(place)
    if found:
        return found[-1]
    end = re.search(r"-(de|es|ja|ko|vi)(?:-dev)?$", package)
    return end[1] if end else "en"


def looks_like(text, lang):
    """Enough of the language's letters, or more of its common words than of English ones."""
    n = len(re.findall(COMMON[lang], text.lower()))
    if lang in ("ja", "ko", "vi"):
        return n * (20 if lang == "vi" else 8) > len(text)
    other = "de" if lang == "en" else "en"
    return n * 60 > len(text.split()) and n > len(re.findall(COMMON[other], text.lower())) and \
        sum(map(str.isascii, text)) * 10 > len(text) * 8


def licence_of(root, package):
    path = root / "usr/share/doc" / package / "copyright"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    names = re.findall(r"^License:[ \t]*(\S.*)$", text, re.M)
    return text, " AND ".join(sorted(set(n.strip() for n in names))[:12]) or \
        "see the copyright file"


def take(job):
    """(package, version, licence, copyright, [(path, language, text)])"""
    package, folder = job
    done = subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True,
                          text=True, check=False)
    debs = sorted(pathlib.Path(folder).glob(package + "_*.deb"))
    if not debs:
        print(f"{package}: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return package, None, "", "", []
    docs = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = pathlib.Path(name)
        subprocess.run(["dpkg-deb", "-x", str(debs[-1]), name], check=True)
        text, licence = licence_of(root, package)
        for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
            place = "/" + str(path.relative_to(root))
            lang = language(place, package)
            if lang not in WANTED or SKIPPED.search(place):
                continue
            try:
                found = text_of(path)
            except (OSError, EOFError, UnicodeError, struct.error):
                continue
            if found:
                docs.append((place, lang, unicodedata.normalize("NFC", found)))
    version = debs[-1].name.split("_")[1]
    debs[-1].unlink()
    return package, version, licence, text, docs


def new_paragraphs(text, lang, seen):
    """The text without paragraphs that were met before."""
    kept = []
    for part in re.split(r"\n[ \t]*\n\s*?(?=\S|[ \t])", text.replace("\r", "")):
        part = part.strip("\n").rstrip()
        if not part.strip() or "\ufffd" in part or "\0" in part:
            continue
        key = hash((lang if len(part) < 60 else "", part.strip()))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= (40 if len(part.encode()) < 60 else 1):
            kept.append(part)
    return "\n\n".join(kept)


def cut(text):
    """Parts of about LONGEST characters, at blank lines."""
    while len(text) > LONGEST and (end := text.find("\n\n", LONGEST)) > 0:
        yield text[:end]
        text = text[end:].lstrip("\n")
    yield text


def write(folder, package, licence, docs, seen):
    sizes, n = dict.fromkeys(WANTED, 0), 0
    with subprocess.Popen(["zstd", "-q", "-9", "-f", "-o", folder / f"{package}.jsonl.zst"],
                          stdin=subprocess.PIPE) as pack:
        for place, lang, text in ((p, g, t) for p, g, found in docs
                                  for t in cut(new_paragraphs(found, g, seen))):
            if len(text) < 200 or not looks_like(text, lang):
                continue
            doc = {"id": f"{package}-{n:06}", "text": text, "lang": lang, "source": package,
                   "path": place, "license": licence}
            pack.stdin.write((json.dumps(doc, ensure_ascii=False) + "\n").encode())
            sizes[lang] += len(text.encode())
            n += 1
        pack.stdin.close()
    if pack.returncode or not n:
        (folder / f"{package}.jsonl.zst").unlink(missing_ok=True)
    return n, sizes


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "copyright").mkdir(parents=True, exist_ok=True)
    names = sys.argv[2:] or PACKAGES.split()
    seen, total = {}, 0
    with open(folder / "SOURCES.tsv", "w", encoding="utf-8") as table, \
            multiprocessing.Pool(os.cpu_count()) as pool:
        print("key", "version", "licence", "documents", *WANTED, sep="\t", file=table)
        for package, version, licence, text, docs in pool.imap(
                take, [(n, str(folder)) for n in names]):
            if not version:
                continue
            n, sizes = write(folder, package, licence, docs, seen)
            (folder / "copyright" / package).write_text(text, encoding="utf-8")
            print(package, version, licence, n, *sizes.values(), sep="\t", file=table)
            total += sum(sizes.values())
            print(f"{package}: {n} documents, " + ", ".join(
                f"{k} {v / 1e6:.1f}" for k, v in sizes.items() if v) + f" MB; {total / 1e6:.0f} MB",
                file=sys.stderr)


if __name__ == "__main__":
    main()
