"""Channels: carrying what is to be told to where people and programs are.

    outbox.put ──▶ deliveries ──dispatch (lease)──▶ webhook | mail | mqtt | apprise | s3 ──▶ Outcome
                       ▲                                                                      │
                       └───────────── again, later · sent · dead · cancelled ◀────────────────┘

Where things are: `facts` the words · `outbox` what is to be sent · `dispatch` who sends it, when ·
`sending` one try of one delivery · `webhook` and `signing`, `mail`, `mqtt` and `discovery`,
`apprise` and `apprise_child`, `s3`, `bucket` and `sigv4` how · `pinned` one HTTP request · `egress`
where to, and where never · `sealing` secrets · `store` channels as they are kept · `looking` how
they and deliveries are shown · `words` texts.

The rules: what is to be sent is a row before it is sent, in the transaction that decided it; a
worker takes it by a lease that ends by itself; each try carries the same id, so a receiver can tell
a repetition; no secret is in a log, an answer or the audit log; nothing goes to an address inside
the network unless central's configuration allows it.
"""
