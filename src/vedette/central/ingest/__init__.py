"""From a device's batch to committed rows, each message exactly once.

`route` receives bytes · `unpack` makes checked, dated items · `committer` collects batches of many
devices into one transaction · `commit` runs it · `effects` says what each message changes.
"""
