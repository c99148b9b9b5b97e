"""Take what Vedette exports, and file it for a MES or ERP: a receiver to begin with.

    python receive_evidence.py --secret-file hook.secret --folder filed --central https://vedette.example

Python's standard library and `standardwebhooks` (verifies who sent it), nothing else. What it does:

    POST /hook   verified, kept in FOLDER/inbox, answered at once; a second time is no second entry
    a thread     takes the inbox: for a clip that can be had, downloads MP4 and JSON by their links,
                 checks each against its SHA-256, files them under FOLDER/packages/…, and writes one
                 line of FOLDER/ledger.jsonl, which is what a MES or ERP reads

Where it is killed, the inbox is still there: it goes on where it stopped. With `--key` (repeatable;
`GET /v1/devices/{device}/keys` at central) a package must be signed by one of these devices too:
that needs `cryptography` and verify_evidence.py beside this file.
"""

import argparse
import hashlib
import json
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 512 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
CLIP = "vedette.evidence.available.v1"
TIMEOUT_S = 30
AGAIN_S = 10.0


class Refused(Exception):
    """This entry can never be filed; it is put aside with the reason."""


def name_of(said: dict[str, Any]) -> str:
    """Return what names a CloudEvent for good: `source` and `id` together."""
    return hashlib.sha256(f"{said['source']} {said['id']}".encode()).hexdigest()


def written(path: Path, data: bytes) -> None:
    """Have `data` at `path`, whole or not at all."""
    scratch = path.with_suffix(".part")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A link leads where it says, and nowhere else."""

    def redirect_request(self, *_what: object) -> None:
        """Follow none."""


class Filing:
    """The folder: what came, what is filed, what cannot be."""

    def __init__(self, folder: Path, central: str, keys: list[str]) -> None:
        self.folder, self.central, self.keys = folder, central.rstrip("/") + "/links/", keys
        self.inbox, self.done, self.refused = (folder / n for n in ("inbox", "done", "refused"))
        for there in (self.inbox, self.done, self.refused, folder / "packages"):
            there.mkdir(parents=True, exist_ok=True)
        self.came = threading.Event()
        self.ledger = folder / "ledger.jsonl"
        self.lines = self.read_ledger()
        self.opener = urllib.request.build_opener(NoRedirect)

    def read_ledger(self) -> set[str]:
        """Return which entries have their line; half a line, left by a kill, goes."""
        if not self.ledger.exists():
            return set()
        whole = self.ledger.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(self.ledger, len(whole))
        return {json.loads(line)["entry"] for line in whole.splitlines()}

    def take(self, body: bytes) -> bool:
        """Keep a CloudEvent that was verified; False where it came before."""
        name = f"{name_of(json.loads(body))}.json"
        if any((there / name).exists() for there in (self.inbox, self.done, self.refused)):
            return False
        written(self.inbox / name, body)
        self.came.set()
        return True

    def work(self) -> bool:
        """File everything in the inbox; True where something has to be tried again."""
        again = False
        for path in sorted(self.inbox.glob("*.json"), key=lambda one: one.stat().st_mtime_ns):
            try:
                self.file(json.loads(path.read_bytes()))
                path.rename(self.done / path.name)
            except Refused as problem:
                print(f"put aside: {problem}", file=sys.stderr)
                path.rename(self.refused / path.name)
            except OSError as problem:  # the line, the disk: later
                print(f"tried again: {problem}", file=sys.stderr)
                again = True
        return again

    def file(self, said: dict[str, Any]) -> None:
        """Write the line that a MES or ERP reads, with the package where one came."""
        event, data, entry = said["data"]["event"], said["data"], name_of(said)
        if entry in self.lines:
            return
        line = {
            "entry": entry,
            "at": said["time"],
            "plant": data["site"]["id"],
            "station": f"{data['device']}/{data['camera']}",
            "what": said["type"],
            "kind": event["kind"],
            "label": event.get("label", ""),
            "where": event.get("where", ""),
            "event": event["event"],
            "late": data["late"],
        }
        if said["type"] == CLIP:
            line["package"] = self.package(said)
        with self.ledger.open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps(line) + "\n")
        self.lines.add(entry)

    def package(self, said: dict[str, Any]) -> str:
        """Download the files of a clip, check them, and return their folder."""
        place = self.folder / "packages" / name_of(said)
        place.mkdir(exist_ok=True)
        for file in said["data"]["clip"]["files"]:
            name = str(file["name"])
            if "/" in name or name.startswith(".") or not file["url"].startswith(self.central):
                raise Refused(f"{name!r} is no file of ours")
            self.download(file["url"], place / name, file["sha256"], int(file["bytes"]))
        if self.keys and not any(self.is_signed(place, key) for key in self.keys):
            raise Refused("the package is not signed by one of the devices that are known")
        return str(place.relative_to(self.folder))

    def download(self, url: str, to: Path, sha256: str, size: int) -> None:
        """Have a file there, as long and as hashed as it was said to be."""
        if size > MAX_FILE_BYTES:
            raise Refused(f"{to.name} has {size} bytes")
        digest, come, scratch = hashlib.sha256(), 0, to.with_suffix(".part")
        try:
            with (
                self.opener.open(url, timeout=TIMEOUT_S) as answer,
                scratch.open("wb") as out,
            ):
                while chunk := answer.read(65536):
                    digest.update(chunk)
                    come += len(chunk)
                    if come > size:
                        raise Refused(f"{to.name} is longer than it was said to be")
                    out.write(chunk)
        except urllib.error.HTTPError as problem:
            if problem.code in {403, 404}:  # over, or not there any more
                raise Refused(f"{to.name}: {problem.read(500).decode(errors='replace')}") from None
            raise
        if digest.hexdigest() != sha256:
            raise Refused(f"{to.name} is not what it was said to be")
        scratch.rename(to)

    def is_signed(self, place: Path, key: str) -> bool:
        """True where the device with this key signed the package."""
        import verify_evidence  # beside this file

        try:
            verify_evidence.verify(place, key)
        except (verify_evidence.Forged, OSError, ValueError, KeyError):
            return False
        return True


def handler(filing: Filing, secret: str) -> type[BaseHTTPRequestHandler]:
    """Return what answers POST /hook."""
    verifier = Webhook(secret)

    class Hook(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            self.send_response(self.taken())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def taken(self) -> int:
            size = self.headers.get("Content-Length", "")
            if self.path != "/hook" or not size.isdigit() or int(size) > MAX_BODY_BYTES:
                return 404 if self.path != "/hook" else 413
            body = self.rfile.read(int(size))
            try:
                said = verifier.verify(body, {k.lower(): v for k, v in self.headers.items()})
            except (WebhookVerificationError, ValueError):
                return 401  # not from our central: said once, not tried again
            if "specversion" in said:  # a message to test the channel is none
                filing.take(body)
            return 204

        def log_message(self, *_words: object) -> None:
            pass

    return Hook


def serve(filing: Filing, secret: str, address: tuple[str, int]) -> tuple[Any, Callable[[], None]]:
    """Begin to serve; return the server and what ends both threads."""
    server = ThreadingHTTPServer(address, handler(filing, secret))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            filing.came.clear()
            filing.came.wait(AGAIN_S if filing.work() else 3600)

    threads = [threading.Thread(target=one) for one in (server.serve_forever, work)]
    for thread in threads:
        thread.start()

    def end() -> None:
        over.set()
        filing.came.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()

    return server, end


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secret-file", type=Path, required=True, help="as central printed it")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--central", required=True, help="links must begin with this address")
    parser.add_argument("--key", action="append", default=[], help="of a device; repeatable")
    parser.add_argument("--listen", default="127.0.0.1:8090")
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    filing = Filing(given.folder, given.central, given.key)
    _, end = serve(filing, given.secret_file.read_text().strip(), (host, int(port)))
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        end()


if __name__ == "__main__":
    main()
