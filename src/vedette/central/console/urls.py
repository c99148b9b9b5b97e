"""Where things have their pages: the one table of addresses that templates and redirects use."""

from urllib.parse import quote


def site_url(site: str) -> str:
    """Return the URL of a site's page."""
    return f"/sites/{quote(site, safe='')}"


def device_url(site: str, device: str) -> str:
    """Return the URL of a device's page."""
    return f"/sites/{quote(site, safe='')}/devices/{quote(device, safe='')}"


def camera_url(site: str, device: str, camera: str) -> str:
    """Return the URL of a camera's page."""
    there = (site, "cameras", device, camera)
    return "/sites/" + "/".join(quote(part, safe="") for part in there)


def event_url(event: str) -> str:
    """Return the URL of an event's page."""
    return f"/events/{quote(event, safe='')}"
