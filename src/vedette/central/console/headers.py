"""What every answer with a page says to the browser about what it may do: nothing but ours.

No inline script or style, no other origin, no frame around us, no referrer leaving. `style-src`
needs no `unsafe-inline`: templates set classes and SVG attributes, scripts set single properties.
"""

from typing import Final

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "media-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

CSP: Final = "; ".join(f"{rule} {allowed}" for rule, allowed in _POLICY.items())

SECURITY_HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

PAGE_HEADERS: Final[dict[str, str]] = {
    **SECURITY_HEADERS,
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Cookie",
}
