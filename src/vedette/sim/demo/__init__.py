"""The demo: one site with three cameras, a real device, a real central, and things that go wrong.

site      which cameras, what they look for, the site's signed policy
operator  what a person does, over central's own pages and API
telephone who is told, by a signed webhook
stage     starts and stops everything
script    what goes wrong, and when
watch     what must become visible, and whether it did
run       the whole, for the command line
"""
