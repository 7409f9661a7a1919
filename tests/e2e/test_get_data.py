"""recipes/nano/get-data on small repositories made here: what it takes out of each source's
files, as the same documents of the published corpus look, and what it says when it cannot."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from e2e import counts, expect, TREE, totals

NANO = TREE / "recipes/nano"

AOZORA = """鰊漁場
島木健作

-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
-------------------------------------------------------

［＃１０字下げ］一［＃「一」は中見出し］

　右足の雪靴《つまご》の紐が、｜汲※［＃「てへん＋黨」、第3水準1-85-7］《くみたも》で。
　四俵も［＃「※［＃「x」］も」は底本では「四依も」］取れねえ。


底本：「島木健作全集　第一巻」国書刊行会
　　　1976（昭和51）年2月20日発行
入力：林田清明
校正：松永正敏
青空文庫作成ファイル：
"""
AOZORA_TEXT = "# 鰊漁場\n\n一\n\n　右足の雪靴の紐が、汲〓で。\n　四俵も取れねえ。"
CSV = """Q,A,label\r
12시 땡!,하루가 또 가네요.,0\r
"A, ""B""?","그래, 좋아\\.",1\r
"""
TURNS = [("user", "one Chai \"Latte\" please"), ("assistant", "ok?"), ("user", "yes\\no"),
         ("assistant", "ok, then.")]
REVIEWS = ["솔직히 \"너무\" 재밌닼ㅋㅋ", "010-1234-5678 로 전화", "a@b.c", "두고두고\t꺼내보고싶은 영화", ""]
PAGES = {"pages/common/a=b c.md": "# ab\n\n> Say \"hi\" \\ & more.\n\n- Tab:\n\n`a\tb`\n",
         "pages.ko/linux/x.md": "# x\n\n> 한국어.\n", "pages.fr/common/no.md": "# non\n",
         "pages.de/empty.md": "", "README.md": "no page\n"}


def git(folder, *args):
    done = subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *args],
                          cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def dialogue(turns):
    return {"conversation_id": "dlg-1", "instructions": "x\n\"text\": \"no\"", "utterances": [
        {"index": i, "speaker": who, "text": text, "segments": [{"text": "inner"}],
         "annotations": []} for i, (who, text) in enumerate(turns)]}


def make_sources(work):
    """Repositories for git, files for curl, and the table that names them."""
    tldr = make_repository(work / "git/t/tldr", PAGES)
    nsmc = make_repository(work / "git/n/nsmc", {"raw/1.json": json.dumps(
        [{"review_id": "1", "review": r, "rating": "9"} for r in REVIEWS], ensure_ascii=False,
        indent=2)})
    raw = work / "raw"
    for name, data in {
            "c/chat/1/ChatbotData.csv": CSV.encode(),
            "a/aozora/1/cards/1/one.txt": AOZORA.replace("\n", "\r\n").encode("cp932"),
            **{f"g/tm/1/TM-4-2024/data/data_0{i}.json": json.dumps(
                [dialogue(TURNS), dialogue(TURNS[:3])] if i == 3 else [], indent=4).encode()
               for i in range(8)}}.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(data)
    (work / "table").write_text(
        f"tldr|t/tldr|{tldr}|CC-BY-4.0|tldr & friends\nnsmc|n/nsmc|{nsmc}|CC0-1.0|N\n"
        "chatbot-ko|c/chat|1|MIT|C\ntaskmaster|g/tm|1|CC-BY-4.0|T\n"
        "aozora|a/aozora|1|LicenseRef-Public-Domain|A\n")
    shutil.copy(NANO / "get-data", work / "get-data")
    (work / "aozora-works.txt").write_text("cards/1/one.txt\n")


def get_data(work, *args):
    env = {**os.environ, "GET_DATA_GIT": f"file://{work}/git",
           "GET_DATA_RAW": f"file://{work}/raw", "GET_DATA_SOURCES": str(work / "table")}
    return subprocess.run(["sh", str(work / "get-data"), *map(str, args)], env=env, timeout=120,
                          capture_output=True, text=True)


def documents(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_documents(out):
    tldr = documents(out / "tldr.jsonl")
    expect([(d["lang"], d["path"]) for d in tldr] == [("ko", "pages.ko/linux/x.md"),
           ("en", "pages/common/a=b c.md")], "tldr: pages of the languages wanted, none empty")
    expect(tldr[1]["text"] == PAGES["pages/common/a=b c.md"].rstrip("\n") and
           tldr[1]["attribution"] == "tldr & friends", "tldr: the page as it is")
    nsmc = documents(out / "nsmc.jsonl")
    expect([d["text"] for d in nsmc] == [REVIEWS[0], REVIEWS[3]] and
           "author" not in nsmc[0], "nsmc: reviews without addresses and numbers")
    chat = documents(out / "chatbot-ko.jsonl")
    expect([d["text"] for d in chat] == ["사용자: 12시 땡!\n도우미: 하루가 또 가네요.",
           "사용자: A, \"B\"?\n도우미: 그래, 좋아\\."], "chatbot-ko: CSV with quotes")
    tasks = documents(out / "taskmaster.jsonl")
    want = "\n".join(("User: " if w == "user" else "Assistant: ") + t for w, t in TURNS)
    expect([d["text"] for d in tasks] == [want], "taskmaster: turns, at least four")
    works = documents(out / "aozora.jsonl")
    expect([d["text"] for d in works] == [AOZORA_TEXT], "aozora: ruby and notes are gone")
    expect(works[0]["attribution"] == "島木健作「鰊漁場」; 底本：「島木健作全集　第一巻」国書刊行会; "
           "入力：林田清明; 校正：松永正敏; 青空文庫", "aozora: who typed it, from which edition")
    licences = {d["license"] for d in tldr + nsmc + chat + tasks + works}
    expect(len(licences) == 4, "every document has its licence")


def check_failures(work):
    done = get_data(work, work / "none", "nothing")
    expect(done.returncode == 1 and 'no source "nothing"' in done.stderr, "an unknown source")
    table = (work / "table").read_text()
    (work / "table").write_text(table.replace("c/chat|1", "c/chat|2").replace("t/tldr", "t/no"))
    for source in ("chatbot-ko", "tldr"):
        done = get_data(work, work / "fails", source)
        left = [p.name for p in (work / "fails").iterdir()]
        expect(done.returncode == 1 and "could not be fetched" in done.stderr and not left,
               f"{source} cannot be fetched: {left}")
    (work / "table").write_text(table)


def main():
    missing = [t for t in ("git", "curl", "iconv", "xargs") if not shutil.which(t)]
    if missing:
        print(f"skip get-data: {', '.join(missing)} not installed")
        counts["skipped"] += 1
    else:
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            make_sources(work)
            done = get_data(work, work / "out")
            expect(done.returncode == 0, f"status {done.returncode} {done.stderr}")
            names = sorted(p.name for p in (work / "out").iterdir())
            expect(names == ["ATTRIBUTION.tsv", "aozora.jsonl", "chatbot-ko.jsonl", "nsmc.jsonl",
                             "taskmaster.jsonl", "tldr.jsonl"], f"files: {names}")
            check_documents(work / "out")
            check_failures(work)
    table = subprocess.run(["grep", "-c", "^[a-z-]*|.*|[0-9a-f]\\{40\\}|", str(NANO / "get-data")],
                           capture_output=True, text=True)
    expect(table.stdout.strip() == "5", "five sources, each at a whole commit")
    return totals()


if __name__ == "__main__":
    raise SystemExit(main())
