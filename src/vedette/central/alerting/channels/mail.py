"""E-mail: one message over SMTP, encrypted, to a server that egress looked at.

The rule: without TLS under the server's own name nothing is said but the greeting, unless the
channel says `tls: none`; a try ends within `TOTAL_S` whatever the server does; the same delivery
has the same Message-ID at each try, and everything about one incident refers to one root, so that
mail programs show it as one thread.

Source: RFC 5321; RFC 8314 (TLS); RFC 5322, 3.6.4 (threads); RFC 3834 (Auto-Submitted).
Thread: each try in one of this module's own threads.
"""

import asyncio
import html
import re
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from io import BufferedReader
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from vedette.central.alerting.channels import egress, words
from vedette.central.alerting.channels.egress import Rules
from vedette.central.alerting.channels.facts import Channel, Delivery, End, Mail, Outcome, told
from vedette.central.alerting.facts import Notice
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError

PORTS: Final = (25, 465, 587, 2525)
STEP_S: Final = 10.0
TOTAL_S: Final = 45.0
MAX_REPLY_BYTES: Final = 64 * 1024
MAX_TO: Final = 50
PICTURE: Final = "picture.jpg"
_THREADS: Final = 32
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"
)


def check_address(text: str) -> str:
    """Return a mail address.

    Raises:
        ConfigError: It is none that is taken here: one address, ASCII, without a name.
    """
    if not _ADDRESS.fullmatch(text):
        raise ConfigError(
            f"{told(text)[:80]!r} is no mail address", operator_hint="as anna@example.com"
        )
    return text


class MailSender:
    """Sends on channels of kind mail. Thread: the event loop's; it blocks in threads of its own."""

    def __init__(self, rules: Rules, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Prepare; `url` is central's own: how we greet a server."""
        self._rules = rules
        name = urlsplit(url).hostname or ""
        self._hello: Final = name if "." in name and name[-1].isalpha() else "[127.0.0.1]"
        self._tls: Final = tls or ssl.create_default_context()
        self._threads: Final = ThreadPoolExecutor(_THREADS, thread_name_prefix="mail")

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what one submission came to."""
        settings = channel.settings
        assert isinstance(settings, Mail)
        notice = msgspec.json.decode(delivery.body, type=Notice)
        try:
            to = [check_address(delivery.address)] if delivery.address else settings.to
            if not to:
                return Outcome(end=End.REFUSED, said="nobody to send it to")
            message = compose(notice, delivery.delivery, settings.sender, to, now_ms)
            if delivery.picture:
                message.add_attachment(
                    delivery.picture, maintype="image", subtype="jpeg", filename=PICTURE
                )
            egress.check_port(self._rules, settings.port, PORTS)
            addresses = await egress.resolve(self._rules, settings.host, settings.port)
            if settings.tls == "none":
                egress.check_inside(addresses)
        except egress.Unresolved as error:
            return _again(str(error))
        except ConfigError as error:
            return Outcome(end=End.REFUSED, said=str(error))
        submission = Submission(settings, channel.secret.password, addresses[0], self._hello)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, submission.run, self._tls, message, to)
        try:
            async with asyncio.timeout(TOTAL_S):
                return await asyncio.shield(work)
        except TimeoutError:
            submission.cut()
            return _again(f"not done within {TOTAL_S:.0f} s")
        except asyncio.CancelledError:
            submission.cut()
            raise

    async def close(self) -> None:
        """Let go of the threads; what still runs in one ends by its timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def compose(notice: Notice, delivery: str, sender: str, to: list[str], now_ms: int) -> EmailMessage:
    """Return the message: plain text, and the same as simple HTML that loads nothing."""
    domain = sender.rpartition("@")[2]
    root = f"<incident.{_atom(notice.incident.incident)}@{domain}>"
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = words.subject(notice)
    message["Date"] = format_datetime(from_wall_ms(now_ms))
    message["Message-ID"] = f"<{_atom(delivery)}@{domain}>"
    message["In-Reply-To"] = root
    message["References"] = root
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    text = words.long(notice)
    message.set_content(text)
    urls = [notice.url, notice.take_url, notice.event_url]
    message.add_alternative(_html(text, urls), subtype="html")
    return message


class _Bounded:
    """A server's answers as lines, of which there are not endlessly many."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._left = MAX_REPLY_BYTES

    def readline(self, size: int = -1) -> bytes:
        """Return a line.

        Raises:
            OSError: Too much was said.
        """
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the server says too much")
        return line

    def close(self) -> None:
        """Close it."""
        self._file.close()


class _Pinned(smtplib.SMTP):
    """SMTP to one address, under the name that the server's certificate must have."""

    def __init__(self, address: str, hello: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(local_hostname=hello, timeout=STEP_S)
        self._address = address
        self._at_once = tls

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._address, port), timeout)
        if self._at_once is None:
            return plain
        try:
            return self._at_once.wrap_socket(plain, server_hostname=host)
        except (OSError, ValueError):
            plain.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """Return an answer, as ever, but not of any length."""
        if self.file is None and self.sock is not None:
            self.file: Any = _Bounded(self.sock.makefile("rb"))
        return super().getreply()


class Submission:
    """One conversation with a server. Thread: `run` in one, `cut` from any."""

    def __init__(self, settings: Mail, password: str, address: str, hello: str) -> None:
        """Prepare; nothing is connected yet."""
        self._settings = settings
        self._password = password
        self._address = address
        self._hello = hello
        self._smtp: _Pinned | None = None
        self._is_cut = False

    def cut(self) -> None:
        """Have the conversation end at once, wherever it is."""
        self._is_cut = True
        smtp = self._smtp
        if smtp is not None and smtp.sock is not None:
            _shut(smtp.sock)

    def run(self, tls: ssl.SSLContext, message: EmailMessage, to: list[str]) -> Outcome:
        """Return what it came to."""
        settings = self._settings
        smtp = _Pinned(self._address, self._hello, tls if settings.tls == "tls" else None)
        self._smtp = smtp
        try:
            # smtplib asks for the certificate's name by what it was told to connect to.
            smtp._host = settings.host  # type: ignore[attr-defined]  # noqa: SLF001
            code, said = smtp.connect(settings.host, settings.port)
            if code != 220:
                return _by_code(code, said, is_channels=True)
            if settings.tls == "starttls":
                smtp.starttls(context=tls)
            if settings.username:
                smtp.login(settings.username, self._password)
            if self._is_cut:
                return _again("cut off")
            refused = smtp.send_message(message, settings.sender, to)
            _goodbye(smtp)
        except smtplib.SMTPException as error:
            return _judged(error)
        except (OSError, ValueError) as error:
            return _again(_why(error))
        finally:
            smtp.close()
        others = f", but not for {len(refused)} of {len(to)}" if refused else ""
        return Outcome(end=End.SENT, said=f"taken by the mail server{others}")


def _goodbye(smtp: _Pinned) -> None:
    """Say goodbye where the server still listens: what it took stays taken."""
    try:
        if smtp.sock is not None:
            smtp.sock.settimeout(1.0)
            smtp.quit()
    except (OSError, ValueError):
        return


def _judged(error: smtplib.SMTPException) -> Outcome:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        code, said = next(iter(error.recipients.values()))
        worst = min(codes, default=code)
        return _by_code(worst, said, is_channels=False)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _again(f"the server does not take the password ({error.smtp_code})")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return _again(
            "the server offers no STARTTLS, or no sign-in that is known: nothing was sent"
        )
    if isinstance(error, smtplib.SMTPSenderRefused):
        return _by_code(error.smtp_code, error.smtp_error, is_channels=True)
    if isinstance(error, smtplib.SMTPResponseException):
        is_channels = not isinstance(error, smtplib.SMTPDataError)
        return _by_code(error.smtp_code, error.smtp_error, is_channels=is_channels)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return _again("the server hung up")
    return _again(type(error).__name__)


def _by_code(code: int, said: bytes | str, *, is_channels: bool) -> Outcome:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    words_ = told(f"answered {code} {text}")
    if 500 <= code < 600:
        return Outcome(end=End.REFUSED, said=words_, is_channels=is_channels)
    return Outcome(end=End.AGAIN, said=words_, is_channels=is_channels)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no common version'}"
    if isinstance(error, TimeoutError):
        return f"no answer within {STEP_S:.0f} s"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or told(str(error))}"
    return "the message cannot be written as mail"


def _again(said: str) -> Outcome:
    return Outcome(end=End.AGAIN, said=said, is_channels=True)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _atom(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:100] or "none"


def _html(text: str, urls: list[str]) -> str:
    """Return the text as a page: escaped, with links of ours, and nothing that would be loaded."""
    body = html.escape(text).replace("\n", "<br>\n")
    for url in urls:
        if url.startswith(("https://", "http://")):
            escaped = html.escape(url)
            body = re.sub(
                rf"(?<![\w/\">]){re.escape(escaped)}(?![\w/.-])",
                f'<a href="{escaped}">{escaped}</a>', body, count=1,
            )  # fmt: skip
    return f'<html><body style="font-family: sans-serif">{body}</body></html>\n'
