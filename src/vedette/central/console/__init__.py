"""The pages that people open: templates, style, a little script, and the handlers that fill them.

What lives here: how a view (`central.views`) becomes HTML and SVG. What does not: where views come
from (`central.fleet`), who may look (`central.api.access`), anything about pixels of people.
The rule: no inline script or style, no third-party request, and no hole that looks like a zero.
"""
