"""The device's own page and metrics, for people and programs at the site.

    metrics   health reports added up, in the Prometheus text format
    html      the last report as a page that a phone shows
    serve     the small HTTP server of both, in the agent

Everything here is read-only and comes from the health report: no pictures, no secrets. Off unless
`local_metrics.enabled` says otherwise.
"""
