"""The part of central that people use, as one Litestar application: operator API and pages."""

from typing import Any

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State

from vedette.central.api import routes
from vedette.central.api.shares import Shares, tell_share
from vedette.central.boundary import AsgiApp
from vedette.central.console.assets import ensure_libraries
from vedette.central.services import Services

MAX_BODY_BYTES = 1024 * 1024


def build_web(services: Services) -> AsgiApp:
    """Return the application. Its OpenAPI document is at `/schema/openapi.json`."""
    ensure_libraries()
    app: Any = Litestar(
        route_handlers=routes.operator_routes(),
        exception_handlers=routes.EXCEPTION_HANDLERS,
        openapi_config=routes.openapi_config(),
        state=State({"services": services, "shares": Shares(services.config, services.clock)}),
        before_send=[tell_share],
        # A stream of small events must not wait in a compressor.
        compression_config=CompressionConfig(backend="gzip", exclude=["/events-stream"]),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
    return app
