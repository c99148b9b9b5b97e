"""What answers, and to whom.

The rules: only the site's own network (private, link-local or loopback addresses), only by the
device's address (no name of somebody else's), only with the PIN; a wrong PIN is counted for all;
forms carry a token; bodies are small. Clear pictures are sent only where they were allowed at the
device, and are never stored by a browser.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vedette.clock import NS_PER_S, Clock
from vedette.edge.commission.page import html
from vedette.edge.commission.page.desk import Answer, Shown
from vedette.edge.commission.page.floor import Floor
from vedette.edge.page.serve import is_named_here

COOKIE: Final = "vedette-commission"
MAX_BODY_BYTES: Final = 4_096
MAX_GUESSES: Final = 5
LOCKED_S: Final = 60.0
MAX_GUESTS: Final = 8
WAIT_S: Final = 8.0

Handler = Callable[[Request], Awaitable[Response]]


class _Guest(msgspec.Struct):
    """Somebody who knew the PIN."""

    csrf: str
    name: str = ""
    sees_clear: bool = False


class Guests:
    """Who is in: a PIN, how often it was guessed wrong, and the tokens of those who knew it."""

    def __init__(self, pin: str, clock: Clock) -> None:
        self._pin: Final = pin
        self._clock: Final = clock
        self._guests: dict[str, _Guest] = {}  # by token
        self._wrong = 0
        self._locked_until_ns = 0

    def enter(self, pin: str) -> str | None:
        """Return a new token for the right PIN; None for a wrong one, or while it is locked."""
        now_ns = self._clock.mono_ns()
        if now_ns < self._locked_until_ns:
            return None
        if not hmac.compare_digest(pin.encode(), self._pin.encode()):
            self._wrong += 1
            if self._wrong >= MAX_GUESSES:
                self._wrong = 0
                self._locked_until_ns = now_ns + int(LOCKED_S * NS_PER_S)
            return None
        self._wrong = 0
        while len(self._guests) >= MAX_GUESTS:  # the eldest has to enter it again
            self._guests.pop(next(iter(self._guests)))
        token = secrets.token_urlsafe(24)
        self._guests[token] = _Guest(csrf=secrets.token_urlsafe(24))
        return token

    @property
    def is_locked(self) -> bool:
        """True while no PIN is taken."""
        return self._clock.mono_ns() < self._locked_until_ns

    def get(self, token: str) -> _Guest | None:
        """Return a guest; None where they are none."""
        return self._guests.get(token)

    def leave(self, token: str) -> None:
        """Let them out."""
        self._guests.pop(token, None)


class Desks:
    """The routes over one floor."""

    def __init__(self, floor: Floor, guests: Guests, device: str) -> None:
        self._floor: Final = floor
        self._guests: Final = guests
        self._device: Final = device

    def routes(self) -> list[Route]:
        """Return the table of what answers."""
        return [
            Route("/", self._guarded(self.front)),
            Route("/pin", self._guarded(self.pin, is_open=True), methods=["POST"]),
            Route("/start", self._guarded(self.start), methods=["POST"]),
            Route("/answer", self._guarded(self.answer), methods=["POST"]),
            Route("/stop", self._guarded(self.stop), methods=["POST"]),
            Route("/leave", self._guarded(self.leave), methods=["POST"]),
            Route("/state", self._guarded(self.state)),
            Route("/view.jpg", self._guarded(self.view)),
            Route("/{name}", self._guarded(self.file, is_open=True)),
        ]

    # ---------------------------------------------------------------------------------- pages

    async def front(self, request: Request) -> Response:
        """Show the step that is being taken, or the cameras."""
        guest, desk = self._guest(request), self._floor.desk
        if desk is None:
            cameras = await run_in_threadpool(self._floor.cameras)
            return _html(
                html.list_page(
                    self._device,
                    cameras,
                    guest.csrf,
                    done=self._floor.done,
                    failed=self._floor.failed,
                    by=guest.name,
                )
            )
        may_clear = self._floor.clear
        wanted = request.query_params.get("view")
        if wanted is not None:
            guest.sees_clear = wanted == "clear"
        clear = may_clear and guest.sees_clear
        shown = desk.shown
        return _html(
            html.step_page(self._device, shown, guest.csrf, clear=clear, may_clear=may_clear)
        )

    async def pin(self, request: Request) -> Response:
        """Let in whoever knows the PIN."""
        form = await _form(request)
        token = self._guests.enter(form.get("pin", "").strip())
        if token is None:
            said = "Too many tries. Wait a minute." if self._guests.is_locked else "That is wrong."
            return _html(html.pin_page(self._device, said), 403)
        answer = _see_other("/")
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/")
        return answer

    async def start(self, request: Request) -> Response:
        """Begin with a camera."""
        form = await self._checked(request)
        name = "".join(c for c in form.get("by", "") if c.isprintable()).strip()[:60]
        self._guest(request).name = name
        self._floor.start(form.get("camera", ""), name)
        return _see_other("/")

    async def answer(self, request: Request) -> Response:
        """Answer the open question; one that is not open any more is passed over."""
        form = await self._checked(request)
        desk = self._floor.desk
        number = _whole(form.get("question", ""))
        given = form.get("answer", "")
        meant: Answer = {"yes": True, "no": False}.get(given)
        if given == "count":
            meant = _whole(form.get("count", ""))
            if meant is None:
                return _see_other("/")
        if desk is not None and number is not None:
            desk.answer(number, meant)
            # The next page shows what comes of it, so that nobody presses twice.
            await run_in_threadpool(desk.newer, desk.shown.version, 0.5)
        return _see_other("/")

    async def stop(self, request: Request) -> Response:
        """Break off."""
        await self._checked(request)
        await run_in_threadpool(self._floor.stop)
        return _see_other("/")

    async def leave(self, request: Request) -> Response:
        """Forget this phone."""
        await self._checked(request)
        self._guests.leave(_token(request))
        answer = _see_other("/")
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    # ------------------------------------------------------------------------- what script asks

    async def state(self, request: Request) -> Response:
        """Say what is shown once it is newer than `after`; 204 where nothing is under way."""
        desk = self._floor.desk
        if desk is None:
            return Response(status_code=204)
        after = _whole(request.query_params.get("after", "")) or 0
        shown: Shown = await run_in_threadpool(desk.newer, after, WAIT_S)
        if self._floor.desk is not desk:
            return Response(status_code=204)
        return Response(msgspec.json.encode(shown), media_type="application/json")

    async def view(self, request: Request) -> Response:
        """Send the newest picture."""
        desk = self._floor.desk
        clear = self._floor.clear and request.query_params.get("kind") == "clear"
        picture = desk.picture(clear=clear) if desk is not None else b""
        if not picture:
            return Response(status_code=404)
        return Response(picture, media_type="image/jpeg")

    async def file(self, request: Request) -> Response:
        """Send the style or the script."""
        if request.path_params["name"] == "favicon.ico":  # browsers ask unasked
            return Response(status_code=204)
        found = html.asset(request.path_params["name"])
        if found is None:
            return Response("there is no such page\n", 404, media_type="text/plain")
        return Response(found[0], media_type=found[1])

    # ---------------------------------------------------------------------------------- the door

    def _guarded(self, handler: Handler, *, is_open: bool = False) -> Handler:
        async def guarded(request: Request) -> Response:
            if not _is_on_site(request):
                answer = Response("this page is for people on the site\n", 403)
            elif not is_named_here(request.headers.get("host", "")):
                answer = Response("open this page by the device's address\n", 403)
            elif not is_open and self._guests.get(_token(request)) is None:
                asks = request.url.path == "/"
                answer = _html(html.pin_page(self._device)) if asks else Response(status_code=401)
            else:
                try:
                    answer = await handler(request)
                except _Refused as error:
                    answer = Response(f"{error}\n", 403, media_type="text/plain")
            for name, value in _HEADERS.items():
                answer.headers.setdefault(name, value)
            return answer

        return guarded

    def _guest(self, request: Request) -> _Guest:
        """Return who asks.

        Raises:
            _Refused: They were let out meanwhile.
        """
        guest = self._guests.get(_token(request))
        if guest is None:
            raise _Refused("enter the PIN again")
        return guest

    async def _checked(self, request: Request) -> dict[str, str]:
        """Return a form that came from a page of ours.

        Raises:
            _Refused: It did not, or is too large.
        """
        form = await _form(request)
        expected = self._guest(request).csrf
        if not hmac.compare_digest(form.get("csrf", "").encode(), expected.encode()):
            raise _Refused("this form is out of date: go back and load the page again")
        return form


_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": html.POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Refused(Exception):
    """A form that is not taken."""


def build(floor: Floor, pin: str, clock: Clock, *, device: str) -> Starlette:
    """Return the application.

    Args:
        floor: The cameras.
        pin: Six digits.
        clock: For the lock after wrong ones.
        device: What the device is called.
    """
    return Starlette(routes=Desks(floor, Guests(pin, clock), device).routes())


def _token(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def _is_on_site(request: Request) -> bool:
    """True where the other end has an address that is not routed on the Internet."""
    if request.client is None:
        return False
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_private or address.is_loopback or address.is_link_local


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a small form.

    Raises:
        _Refused: It is too large, or no form.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _Refused("that is no form of this page")
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=16, keep_blank_values=True)
    except (UnicodeDecodeError, ValueError) as error:
        raise _Refused("that is no form of this page") from error
    return {name: values[0] for name, values in fields.items()}


def _whole(text: str) -> int | None:
    """Return a short whole number from 0; None for anything else."""
    is_one = text.isascii() and text.isdecimal() and len(text) <= 12
    return int(text) if is_one else None


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="text/html; charset=utf-8")


def _see_other(there: str) -> RedirectResponse:
    return RedirectResponse(there, status_code=303)
