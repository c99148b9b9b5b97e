"""The demo's operator: does over HTTP what a person and a program of theirs would do.

First run through the setup page with the one-time link that central printed, an API token from the
account page, then the operator API. Nothing of central is imported: only what a stranger can see.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import urllib3

from vedette.errors import CentralUnreachable, UplinkError
from vedette.wire.signed import Signed

ADMIN: Final = "admin"
_SETUP: Final = re.compile(r"/setup(?:/|\?token=)([\w-]+)")
_CSRF: Final = re.compile(r'name="csrf" value="([^"]+)"')
_TOKEN: Final = re.compile(r"shown this once</b><code>([^<]+)</code>")
_FORM: Final = "application/x-www-form-urlencoded"


class Operator:
    """One signed-in administrator. Thread: one at a time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.password = f"demo-{secrets.token_hex(4)}"
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10.0))
        self._cookies: dict[str, str] = {}
        self._token = ""

    def is_up(self) -> bool:
        """True where central and its database answer."""
        try:
            return self._ask("GET", "/-/healthz").status == 200
        except CentralUnreachable:
            return False

    def set_up(self, printed: str) -> None:
        """Set the administrator's password with the printed link, and make an API token.

        Raises:
            UplinkError: Central did not print a link, or refused a step.
        """
        link = _SETUP.search(printed)
        if link is None:
            raise UplinkError("central printed no setup link")
        self._page("GET", f"/setup?token={link[1]}")
        form = {
            "csrf": self._cookies.get("vedette-door", ""),
            "token": link[1],
            "password": self.password,
            "again": self.password,
        }
        self._page("POST", "/setup", form)
        csrf = _CSRF.search(self._page("GET", "/settings/account"))
        if csrf is None:
            raise UplinkError("the account page has no form: not signed in")
        page = self._page(
            "POST", "/settings/tokens", {"csrf": csrf[1], "label": "demo", "days": "7"}
        )
        token = _TOKEN.search(page)
        if token is None:
            raise UplinkError("the account page showed no token")
        self._token = token[1].strip()

    def add_site(self, site: str, name: str, key: str) -> None:
        """Have the site, with the key that it obeys."""
        self.call("POST", "/v1/sites", {"site": site, "name": name, "site_keys": [key]})

    def put_policy(self, site: str, policy: Signed) -> None:
        """Hand in a policy that the site signed."""
        self.call("PUT", f"/v1/sites/{site}/policy", msgspec.to_builtins(policy))

    def claim_token(self, site: str, device: str) -> str:
        """Return a claim token for one new device."""
        answer = self.call("POST", "/v1/claims", {"site": site, "device": device})
        return str(answer["token"])

    def add_webhook(self, channel: str, url: str) -> str:
        """Have a channel that posts to a program, and return the secret that signs its notices."""
        made = self.call(
            "POST",
            "/v1/channels",
            {"channel": channel, "settings": {"type": "webhook", "url": url}},
        )
        return str(made["secret"])

    def apply_rules(self, text: str) -> None:
        """Have these rules and ladders, from now on."""
        self.call("POST", "/v1/rules-file", {"text": text, "apply": True, "note": "the demo's"})

    def incidents(self) -> list[dict[str, Any]]:
        """Return incidents, what nobody looks after first."""
        return list(self.call("GET", "/v1/incidents")["incidents"])

    def fleet(self) -> dict[str, Any]:
        """Return the fleet view."""
        return self.call("GET", "/v1/fleet")

    def camera(self, place: Sequence[str], from_ms: int, to_ms: int) -> dict[str, Any]:
        """Return a camera's view; `place` is site, device, camera."""
        return self.call("GET", f"{_path(place)}?from_ms={from_ms}&to_ms={to_ms}")

    def coverage(self, place: Sequence[str], from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """Return the segments of a camera's coverage ledger."""
        answer = self.call("GET", f"{_path(place)}/coverage?from_ms={from_ms}&to_ms={to_ms}")
        return list(answer["segments"])

    def events(self, **filters: str | int) -> list[dict[str, Any]]:
        """Return a page of events, newest first."""
        return list(self.call("GET", f"/v1/events?{urlencode(filters)}")["events"])

    def event(self, event: str) -> dict[str, Any]:
        """Return one event with its evidence record."""
        return self.call("GET", f"/v1/events/{event}")

    def ask_thumbnail(self, place: Sequence[str]) -> None:
        """Ask for a privacy-safe picture of a camera."""
        self.call("POST", f"{_path(place)}/thumbnail")

    def thumbnail(self, place: Sequence[str]) -> bytes | None:
        """Return the newest picture; None where there is none yet."""
        answer = self._ask("GET", f"{_path(place)}/thumbnail", headers=self._bearer())
        return answer.data if answer.status == 200 else None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer of the operator API.

        Raises:
            CentralUnreachable: No answer.
            UplinkError: Refused; the text says why.
        """
        data = None if body is None else msgspec.json.encode(body)
        headers = {**self._bearer(), "Content-Type": "application/json"}
        answer = self._ask(method, path, data, headers)
        if answer.status >= 300:
            text = answer.data[:500].decode(errors="replace")
            raise UplinkError(f"{method} {path}: {answer.status} {text}")
        return msgspec.json.decode(answer.data) if answer.data else None

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _page(self, method: str, path: str, form: Mapping[str, str] | None = None) -> str:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        data = None
        if form is not None:
            headers["Content-Type"] = _FORM
            data = urlencode(form).encode()
        answer = self._ask(method, path, data, headers)
        for line in answer.headers.getlist("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value.strip()
        if answer.status >= 400:
            raise UplinkError(f"{method} {path.partition('?')[0]}: {answer.status}")
        return answer.data.decode(errors="replace")

    def _ask(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._http.request(
                method, self.url + path, body=data, headers=dict(headers or {}), redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise CentralUnreachable(f"central does not answer: {error}") from error


def _path(place: Sequence[str]) -> str:
    site, device, camera = place
    return f"/v1/sites/{site}/devices/{device}/cameras/{camera}"


def run_arguments(state_dir: Path, port: int, config: Path | None = None) -> list[str]:
    """Return the command line that starts central, with what else `config` says."""
    first = ["central", *(["--config", str(config)] if config else [])]
    return [*first, "run", "--state", str(state_dir), "--listen", f"127.0.0.1:{port}"]
