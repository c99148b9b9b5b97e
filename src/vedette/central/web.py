"""The part of central that people use, as one Litestar application: operator API and pages."""

from typing import Any

from litestar import Litestar
from litestar.openapi import OpenAPIConfig

from vedette import __version__
from vedette.central.api import routes
from vedette.central.boundary import AsgiApp
from vedette.central.console import pages
from vedette.central.services import Services


def build_web(services: Services) -> AsgiApp:
    """Return the application. Its OpenAPI document is at `/api/schema/openapi.json`."""
    app: Any = Litestar(
        route_handlers=[*routes.build(services), *pages.build(services)],
        openapi_config=OpenAPIConfig(
            title="Vedette central", version=__version__, path="/api/schema"
        ),
    )
    return app
