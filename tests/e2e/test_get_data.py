"""recipes/nano/get-data on small repositories made here, from files and over HTTP: what it takes
out of each source's files, as the same documents of the published corpus look, what it says when
it cannot, and what is there after it was interrupted and run again."""
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

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
         "pages.ja/y.md": "# y\n\necho \\\\n\\n\n\n",
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
    commit = git(folder, "rev-parse", "HEAD")
    git(folder, "rm", "-q", "-r", ".")    # the commit wanted is not the last one
    git(folder, "commit", "-q", "-m", "none")
    return commit


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


def environment(work, at):
    return {**os.environ, "GET_DATA_GIT": f"{at}/git", "GET_DATA_RAW": f"{at}/raw",
            "GET_DATA_SOURCES": str(work / "table")}


def get_data(work, *args, at=None):
    return subprocess.run(["sh", str(work / "get-data"), *map(str, args)], timeout=120,
                          env=environment(work, at or f"file://{work}"), capture_output=True,
                          text=True)


class Server(http.server.ThreadingHTTPServer):
    """raw/ as files, git/ by git's own program.  trouble: {end of a path: what goes wrong}."""
    def __init__(self, work):
        super().__init__(("127.0.0.1", 0), Handler)
        self.work, self.trouble, self.asked = work, {}, []
        self.waits = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        how = next((t for end, t in self.server.trouble.items() if self.path.endswith(end)), None)
        if how == "waits":
            self.server.waits.set()
            self.rfile.read()             # until the other side is gone
        elif how == "busy":
            self.server.trouble.clear()
            self.send_error(503)
        elif self.path.startswith("/git/"):
            self.serve_git(b"")
        else:
            path = self.server.work / self.path[1:]
            body = path.read_bytes() if path.is_file() else None
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2] if how == "breaks off" else body)

    def do_POST(self):
        self.serve_git(self.rfile.read(int(self.headers["Content-Length"])))

    def serve_git(self, body):
        path, _, query = self.path.partition("?")
        env = {**os.environ, "GIT_PROJECT_ROOT": str(self.server.work), "GIT_HTTP_EXPORT_ALL": "1",
               "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
               "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True,
                              check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def documents(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_documents(out):
    tldr = documents(out / "tldr.jsonl")
    expect([(d["lang"], d["path"]) for d in tldr] == [("ja", "pages.ja/y.md"),
           ("ko", "pages.ko/linux/x.md"), ("en", "pages/common/a=b c.md")],
           "tldr: pages of the languages wanted, none empty")
    expect(all(d["text"] == PAGES[d["path"]].rstrip("\n") and
               d["attribution"] == "tldr & friends" for d in tldr), "tldr: pages as they are")
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


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def check_http(work):
    server = Server(work)
    out = work / "http"
    server.trouble = {"data_05.json": "busy"}
    done = get_data(work, out, at=server.address())
    expect(done.returncode == 0 and files_of(out) == files_of(work / "out"),
           f"over HTTP, once told to come again: the same files {done.stderr}")
    expect(server.asked.count("/raw/g/tm/1/TM-4-2024/data/data_05.json") == 2, "and it came again")
    server.asked.clear()
    done = get_data(work, out, at=server.address())
    expect(done.returncode == 0 and not server.asked and "is there already" in done.stderr and
           files_of(out) == files_of(work / "out"), "again: nothing is fetched")
    for how, name in (("breaks off", "data_03.json"), ("not found", "data_02.json")):
        path = work / "raw/g/tm/1/TM-4-2024/data" / name
        server.trouble = {name: how}
        if how == "not found":
            path.rename(work / "away")
        done = get_data(work, work / how, "chatbot-ko", "taskmaster", at=server.address())
        left = sorted(files_of(work / how))
        expect(done.returncode == 1 and "could not be fetched" in done.stderr and
               left == ["ATTRIBUTION.tsv", "chatbot-ko.jsonl"], f"one of many {how}: {left}")
        if how == "not found":
            (work / "away").rename(path)
    server.shutdown()


def check_interrupted(work):
    """Ended while it waits for the second source: the first is there, and the rest comes later."""
    server = Server(work)
    out = work / "cut"
    server.trouble = {"data_04.json": "waits"}
    with subprocess.Popen(["sh", str(work / "get-data"), str(out), "chatbot-ko", "taskmaster"],
                          env=environment(work, server.address()), stderr=subprocess.DEVNULL,
                          start_new_session=True) as run:
        expect(server.waits.wait(60), "it asks for the file that does not come")
        os.killpg(run.pid, signal.SIGTERM)
        status = run.wait(60)
    left = sorted(files_of(out))
    expect(status == 130 and left == ["ATTRIBUTION.tsv", "chatbot-ko.jsonl"],
           f"status {status}, left: {left}")
    server.trouble = {}
    server.asked.clear()
    (out / ".get-data.killed").mkdir()    # as kill -9 leaves one
    done = get_data(work, out, at=server.address())
    expect(done.returncode == 0 and files_of(out) == files_of(work / "out") and
           not any("chat" in path for path in server.asked), "run again: only what was missing")
    table = (work / "table").read_text()
    (work / "table").write_text(table.replace("g/tm|1", "g/tm|2"))
    (work / "raw/g/tm/1").rename(work / "raw/g/tm/2")
    done = get_data(work, out, "taskmaster", at=server.address())
    expect(done.returncode == 0 and b"g/tm\t2\t" in (out / "ATTRIBUTION.tsv").read_bytes() and
           (out / "ATTRIBUTION.tsv").read_bytes().count(b"\n") == 5, "another commit: fetched anew")
    server.shutdown()


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
            check_http(work)
            check_interrupted(work)
    table = subprocess.run(["grep", "-c", "^[a-z-]*|.*|[0-9a-f]\\{40\\}|", str(NANO / "get-data")],
                           capture_output=True, text=True)
    expect(table.stdout.strip() == "5", "five sources, each at a whole commit")
    return totals()


if __name__ == "__main__":
    raise SystemExit(main())
