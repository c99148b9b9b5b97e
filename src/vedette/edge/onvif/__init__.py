"""Asking a camera what it is, by ONVIF: make, model, firmware, serial number.

`soap` is the text (pure), `client` the connection, `inquiry` when each camera is asked. Only the
device service's two harmless questions are ever asked; nothing in a camera is changed.
"""
