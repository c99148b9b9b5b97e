"""The operator API and its doors: who may ask, what may be asked, in which words it fails.

What lives here: sign-in state, roles and scopes, the JSON routes under `/v1` that people and their
programs use, and the stream of news for open pages. What does not: the routes that devices use
(`central.ingest`, `central.enrol`), and pages. The rule: every handler that returns anything about
a site goes through `access`, and every look at pixels and every change goes into the audit log.
"""
