"""What answers for channels and deliveries.

The rule: every page and form asks the operator API's own functions, so that scope, checks and the
audit log are theirs.
"""

from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting.channels import looking
from vedette.central.alerting.channels.facts import (
    S3,
    Apprise,
    Mail,
    Mqtt,
    Settings,
    State,
    Webhook,
)
from vedette.central.alerting.channels.looking import After
from vedette.central.api import access, alert_channels
from vedette.central.api.access import AnyRequest, HTTPException, NotThere, TheServices, TheSession
from vedette.central.api.alert_channels import ChannelToBe, Rotation, TestTo, Why
from vedette.central.console.alerts import channels, forms
from vedette.central.console.alerts.channels import DeliveryQuery, channel_url
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import Page, page, page_of, see_other
from vedette.central.services import Services
from vedette.errors import ConfigError, ConflictError, VedetteError

CHANNEL: Final = "/channels/{channel:str}"
MAX_ROWS: Final = 100
_LATELY: Final = 12
QueryState = Annotated[str, QueryParameter(name="state")]


@get("/channels", include_in_schema=False)
async def channels_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show where notices go, those in trouble first."""
    return page(await _list(services, session, page_of(request, services, session), done=done))


async def _list(
    services: Services,
    session: Session,
    made: Page,
    *,
    asked: dict[str, str] | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    access.require(session, "operator")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        rows = await looking.channels(tx, services.now_ms())
    return channels.list_html(rows, made, asked=asked, done=done, problem=problem)


@post("/channels", include_in_schema=False, status_code=200)
async def make_channel(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have a channel; a secret that was made here is shown this once."""
    access.require(session, "admin")
    made = page_of(request, services, session)
    try:
        to_be = wanted(data)
        found = await alert_channels.add_channel.fn(services, session, to_be)
    except (VedetteError, ValueError) as error:
        said = sentence(error) if isinstance(error, VedetteError) else "That cannot be."
        shown = {key: value for key, value in data.items() if key != "secret"}
        return page(await _list(services, session, made, asked=shown, problem=said), 422)
    if found.secret:
        return page(await _one(services, session, made, to_be.channel, secret=found.secret))
    return see_other(f"{channel_url(to_be.channel)}?done=made")


def wanted(data: dict[str, str]) -> ChannelToBe:
    """Return the channel that the form asks for.

    Raises:
        ConfigError: What it leads to is no address of such a kind.
    """
    kind, url = data.get("kind", ""), data.get("url", "").strip()
    secret = data.get("secret", "")
    settings: Settings
    if kind == "webhook":
        return ChannelToBe(
            channel=data.get("channel", "").strip(), settings=Webhook(url=url), secret=secret
        )
    if kind == "apprise":
        name = data.get("channel", "").strip()
        return ChannelToBe(channel=name, settings=Apprise(), url=url)
    if kind == "s3":
        return ChannelToBe(
            channel=data.get("channel", "").strip(),
            settings=_bucket(url, data),
            key_id=data.get("username", "").strip(),
            secret=secret,
        )
    settings = _mail(url, data) if kind == "mail" else _mqtt(url, data)
    return ChannelToBe(channel=data.get("channel", "").strip(), settings=settings, password=secret)


def _mail(url: str, data: dict[str, str]) -> Mail:
    scheme, host, port = _server(url, {"smtp", "smtps"}, "smtp://mail.example:587")
    return Mail(
        host=host,
        port=port or (465 if scheme == "smtps" else 587),
        tls="tls" if scheme == "smtps" else "starttls",
        sender=data.get("sender", "").strip(),
        to=forms.names(data.get("to", "")),
        username=data.get("username", "").strip(),
    )


def _mqtt(url: str, data: dict[str, str]) -> Mqtt:
    scheme, host, port = _server(url, {"mqtt", "mqtts"}, "mqtts://broker.example:8883")
    return Mqtt(
        host=host,
        port=port or (8883 if scheme == "mqtts" else 1883),
        tls=scheme == "mqtts",
        username=data.get("username", "").strip(),
        discovery="homeassistant" if data.get("discovery") == "yes" else "",
    )


def _bucket(url: str, data: dict[str, str]) -> S3:
    """Return the bucket that is the first part of an address' path; the rest is the prefix."""
    parts = urlsplit(url)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if parts.query or parts.fragment or not bucket:
        raise ConfigError(
            "that is no such address", operator_hint="write it as https://s3.example/bucket/prefix"
        )
    endpoint = f"{parts.scheme}://{parts.netloc}"
    region = data.get("region", "").strip()
    made = S3(endpoint=endpoint, bucket=bucket, prefix=prefix)
    return msgspec.structs.replace(made, region=region) if region else made


def _server(url: str, schemes: set[str], example: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.path:
        raise ConfigError("that is no such address", operator_hint=f"write it as {example}")
    return parts.scheme, parts.hostname, port


@get(CHANNEL, include_in_schema=False)
async def channel_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    channel: FromPath[str],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one channel and what was sent there lately."""
    made = page_of(request, services, session)
    return page(await _one(services, session, made, channel, done=done))


async def _one(services: Services, session: Session, made: Page, channel: str, **said: str) -> str:
    view = await alert_channels.read_channel.fn(services, session, channel)
    async with services.db.transaction() as tx:
        which = After(channel=channel)
        rows = await looking.deliveries(tx, session.sites, which, _LATELY)
    made = msgspec.structs.replace(made, self_url=channel_url(channel))
    return channels.channel_html(view, rows, made, **said)


@post(f"{CHANNEL}/{{action:str}}", include_in_schema=False, status_code=200)
async def change_channel(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    channel: FromPath[str],
    action: FromPath[str],
    data: Form,
) -> Response[str]:
    """Test a channel, switch it on or off, give it another secret, or remove it."""
    made = page_of(request, services, session)
    secret = ""
    try:
        if action == "test":
            wanted = TestTo(address=data.get("address", "").strip()[:200])
            await alert_channels.test_channel.fn(services, session, channel, wanted)
        elif action == "on":
            await alert_channels.enable_channel.fn(services, session, channel)
        elif action == "off":
            why = Why(why=f"by {session.username}"[:200])
            await alert_channels.disable_channel.fn(services, session, channel, why)
        elif action == "rotate":
            found = await alert_channels.rotate_secret.fn(services, session, channel, Rotation())
            secret = found.secret
        elif action == "remove":
            await alert_channels.remove_channel.fn(services, session, channel)
            return see_other("/channels?done=removed")
        else:
            raise NotThere(detail="there is no such action")
    except (ConfigError, ConflictError) as error:
        html = await _one(services, session, made, channel, problem=sentence(error))
        return page(html, 422)
    if secret:
        return page(await _one(services, session, made, channel, secret=secret, done="rotated"))
    done = {"test": "tested"}.get(action, action)
    return see_other(f"{channel_url(channel)}?done={done}")


@get("/deliveries", include_in_schema=False)
async def deliveries_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    in_state: QueryState = "",
    channel: FromQuery[str] = "",
    export: FromQuery[str] = "",
    before: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show what was sent, what waits and what was given up."""
    access.require(session, "operator")
    query = DeliveryQuery(
        state=in_state if in_state in set(State) else "",
        channel=channel[:64].replace("\0", ""),
        export=export[:64].replace("\0", ""),
    )
    opened, _, name = before[:128].partition(".")
    is_cursor = opened.isdecimal() and len(opened) < 17
    which = After(
        state=query.state,
        channel=query.channel,
        export=query.export,
        made_ms=int(opened) if is_cursor else None,
        delivery=name.replace("\0", "") if is_cursor else "",
    )
    async with services.db.transaction() as tx:
        rows = await looking.deliveries(tx, session.sites, which, MAX_ROWS + 1)
    older = ""
    if len(rows) > MAX_ROWS:
        rows = rows[:MAX_ROWS]
        last = f"{rows[-1].made_ms}.{rows[-1].delivery}"
        older = f"/deliveries?{urlencode(msgspec.structs.asdict(query) | {'before': last})}"
    made = page_of(request, services, session)
    return page(channels.deliveries_html(rows, query, made, older=older, done=done))


@post("/deliveries/replay", include_in_schema=False, status_code=200)
async def replay_all(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Send everything again that was given up on a channel."""
    channel = data.get("channel", "")[:64]
    await alert_channels.replay_channel.fn(services, session, channel)
    return see_other(f"/deliveries?{urlencode({'channel': channel, 'done': 'replayed'})}")


@post("/deliveries/{delivery:str}/{action:str}", include_in_schema=False, status_code=200)
async def change_delivery(
    services: TheServices,
    session: TheSession,
    delivery: FromPath[str],
    action: FromPath[str],
) -> Response[str]:
    """Send one again, or not at all."""
    if action not in {"replay", "cancel"}:
        raise NotThere(detail="there is no such action")
    handler = (
        alert_channels.replay_delivery if action == "replay" else alert_channels.cancel_delivery
    )
    try:
        await handler.fn(services, session, delivery)
    except ConfigError as error:
        raise HTTPException(detail=str(error), status_code=409) from error
    return see_other(f"/deliveries?done={'replayed' if action == 'replay' else 'cancelled'}")


OWN: Final = [
    channels_page,
    make_channel,
    channel_page,
    change_channel,
    deliveries_page,
    replay_all,
    change_delivery,
]
