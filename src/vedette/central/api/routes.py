"""Every route of people and their programs, in two lists: what `app` mounts.

Reached without a session: sign-in, setup, static files, and files by a link that central signed.
Everything else takes `session`, and so cannot be called by nobody. The rule: a new route goes into
a room's list, never directly into the application.
"""

from typing import Any, Final

from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from vedette import __version__
from vedette.central.api import (
    access,
    alert_channels,
    archiving,
    asking,
    business,
    changing,
    clips,
    commissioned,
    contacting,
    description,
    diagnosing,
    escalating,
    exporting,
    holding,
    incidents,
    inventorying,
    lines,
    linking,
    models,
    organising,
    people,
    problems,
    reading,
    releases,
    reviewing,
    rollouts,
    ruling,
    telling,
    trusting,
    viewing,
)
from vedette.central.api.forms import check_forms
from vedette.central.console import doors, live, pages, sso
from vedette.central.console.headers import SECURITY_HEADERS

EXCEPTION_HANDLERS: Final = problems.HANDLERS
"""For the application itself, so that unknown paths fail in the same words."""


async def with_headers(response: Response[Any]) -> Response[Any]:
    """Return the answer with the headers that every answer carries; its own ones stay."""
    for name, value in {"Cache-Control": "no-store", **SECURITY_HEADERS}.items():
        response.headers.setdefault(name, value)
    return response


async def at_the_door(request: Request[Any, Any, Any]) -> None:
    """Know who asks before anything that they ask is looked at, then in which form they ask it."""
    await access.session_of(request, access.services_of(request.app.state))
    await check_forms(request)


def operator_routes() -> list[ControllerRouterHandler]:
    """Return the routers of the console and of the operator API."""
    services = {"services": Provide(access.services_of, sync_to_thread=False)}
    behind_the_door = services | {"session": Provide(access.session_of)}
    return [
        Router(
            path="/", route_handlers=[*doors.OPEN, *sso.OPEN, *pages.OPEN], dependencies=services
        ),
        Router(
            path="/",
            route_handlers=linking.ROUTES,
            dependencies=services,
            after_request=with_headers,
        ),
        Router(
            path="/",
            route_handlers=[
                *doors.OWN,
                *pages.OWN,
                *business.AT_THE_TOP,
                live.events_stream,
            ],
            dependencies=behind_the_door,
            after_request=with_headers,
        ),
        Router(
            path="/v1",
            route_handlers=[
                *reading.ROUTES,
                *asking.ROUTES,
                *changing.ROUTES,
                *organising.ROUTES,
                *people.ROUTES,
                *inventorying.ROUTES,
                *business.ROUTES,
                *trusting.ROUTES,
                *viewing.ROUTES,
                *diagnosing.ROUTES,
                *lines.ROUTES,
                *telling.ROUTES,
                *commissioned.ROUTES,
                *clips.ROUTES,
                *models.ROUTES,
                *rollouts.ROUTES,
                *releases.ROUTES,
                *reviewing.ROUTES,
                *alert_channels.ROUTES,
                *ruling.ROUTES,
                *incidents.ROUTES,
                *escalating.ROUTES,
                *contacting.ROUTES,
                *exporting.ROUTES,
                *holding.ROUTES,
                *archiving.ROUTES,
            ],
            dependencies=behind_the_door,
            before_request=at_the_door,
            after_request=with_headers,
            tags=["operator"],
            security=[{"token": []}, {"session": []}],
        ),
    ]


class _Completed(JsonRenderPlugin):
    """The document with what every operation of `/v1` has in common."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return it as JSON."""
        return super().render(request, description.complete(openapi_schema))


def openapi_config() -> OpenAPIConfig:
    """Return the description of the operator API, as JSON at `/schema/openapi.json`.

    No rendered documentation pages: the ready-made ones load script from other hosts.
    """
    return OpenAPIConfig(
        title="Vedette operator API",
        version=__version__,
        path="/schema",
        description=(
            "Every number that speaks of time stands beside its coverage and the causes of what "
            "is missing; a value without coverage is null. Failures are RFC 9457 problems."
        ),
        render_plugins=[_Completed()],
        components=Components(
            security_schemes={
                "token": SecurityScheme(type="http", scheme="bearer"),
                "session": SecurityScheme(
                    type="apiKey", security_scheme_in="cookie", name="vedette"
                ),
            }
        ),
    )
