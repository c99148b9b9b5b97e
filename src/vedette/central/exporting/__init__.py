"""Events and evidence for other systems: plants, shops, archives.

    event, record, clip ──ingest──▶ export_inbox ──feeding──▶ deliveries ──channels──▶ others

Where things are: `facts` what an export is · `store` as rows · `cloudevents` one thing as a
CloudEvent · `packing` one thing made ready for one export · `feeding` one turn over the inbox ·
`trying` one thing sent by hand · `links` addresses of files that need no sign-in, for a while ·
`holding` what nobody may let go · `archive` many packages in one download.

The rules: what the site's policy does not let leave the device is in no export, because central
does not have it; each thing is put into the outbox once, and sent with the care of every delivery;
a file that leaves by a link or into a bucket stands in the audit log.
"""
