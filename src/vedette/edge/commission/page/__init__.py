"""Commissioning on a phone: a page that the device itself serves while somebody installs cameras.

Where things are: `desk` what the person sees and answers · `floor` whose turn it is, and the thread
that takes the steps · `html` the pages · `app` what answers, and to whom · `serve` the socket.

The rule: it is there only while somebody asked for it at the device, for people on the site's own
network who know the PIN that stands on the device's terminal.
"""
