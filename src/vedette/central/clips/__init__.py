"""Clips of evidence that operators asked for: from the device, for people, and away again.

Where things are: `blobs` files named by their content · `fetching` what is asked, and how far
it is · `taking` what devices send · `looking` who sees what · `keeping` how long.

The rule: central decides nothing about leaving. It asks; the device decides by the site's signed
policy; what comes is held to what was announced, byte for byte.
"""
