"""The part of central that people use, as one Litestar application: operator API and pages."""

import copy
import functools
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
    app: Any = copy.copy(_application())
    app.state = State({"services": services, "shares": Shares(services.config, services.clock)})
    return app


@functools.cache
def _application() -> Litestar:
    """Return the routes without what they serve, which a request finds in its application's state.

    Registering hundreds of routes takes most of a second: a process that has several centrals, as
    simulations do, does it once.
    """
    return Litestar(
        route_handlers=routes.operator_routes(),
        exception_handlers=routes.EXCEPTION_HANDLERS,
        openapi_config=routes.openapi_config(),
        before_send=[tell_share],
        # A stream of small events must not wait in a compressor; files are compressed already.
        compression_config=CompressionConfig(
            backend="gzip",
            gzip_compress_level=6,
            exclude=["/events-stream", "/static/", "/clip/", "/links/", "/v1/archive"],
        ),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
