-- Where notices go, and what became of each.

-- name: delivery_put
-- One thing to be sent; the same key twice is one. Dead at once where no such channel is.
INSERT INTO deliveries (delivery, key, channel, address, person, incident, kind, state, made_ms,
                        asked_ms, due_ms, said, body, media, priority, until_ms, subject)
SELECT %(delivery)s, %(key)s, %(channel)s, %(address)s, %(person)s, %(incident)s, %(kind)s,
       CASE WHEN c.channel IS NULL THEN 'dead' ELSE 'waiting' END, %(now_ms)s::bigint, %(asked_ms)s,
       CASE WHEN c.channel IS NULL THEN NULL ELSE %(due_ms)s::bigint END,
       CASE WHEN c.channel IS NULL THEN 'there is no such channel' ELSE '' END,
       %(body)s, %(media)s, %(priority)s, %(until_ms)s, %(subject)s
FROM (SELECT 1) AS one LEFT JOIN alert_channels c ON c.channel = %(channel)s
ON CONFLICT (key) DO NOTHING

-- name: deliveries_replaced
-- Pages about an incident that still wait give way to what is newer about it, at the same address.
UPDATE deliveries d
SET state = 'cancelled', due_ms = NULL, done_ms = %(now_ms)s, said = 'replaced by ' || n.kind
FROM deliveries n
WHERE n.key = %(key)s AND d.incident = n.incident AND d.incident <> '' AND d.channel = n.channel
  AND d.address = n.address AND d.delivery <> n.delivery AND d.state = 'waiting'
  AND d.asked_ms <= n.asked_ms AND d.made_ms <= n.made_ms AND d.media = ''
  AND d.kind IN ('opened', 'repeated', 'escalated', 'ack_expired')

-- name: channels_ready
-- Channels with something due that may be tried now, and whether they are only probed.
SELECT c.channel, c.kind, c.body, c.secret, c.version, c.failures
FROM alert_channels c
WHERE c.enabled AND c.rests_ms <= %(now_ms)s
  AND EXISTS (SELECT 1 FROM deliveries d
              WHERE d.channel = c.channel AND d.due_ms <= %(now_ms)s)

-- name: deliveries_lease
-- What is due on a channel, for this worker until its lease is over: fresh ones first, and nothing
-- about an incident while something else about it is on its way to the same address.
WITH taken AS MATERIALIZED (
    SELECT d.delivery FROM deliveries d
    WHERE d.channel = %(channel)s AND d.due_ms <= %(now_ms)s AND d.state IN ('waiting', 'sending')
      AND NOT EXISTS (
          SELECT 1 FROM deliveries o
          WHERE d.incident <> '' AND o.incident = d.incident AND o.channel = d.channel
            AND o.address = d.address AND o.delivery <> d.delivery
            AND (o.state = 'sending' AND o.leased_ms > %(now_ms)s
                 OR o.state = 'waiting' AND o.due_ms <= %(now_ms)s
                    AND (o.asked_ms, o.made_ms, o.delivery) < (d.asked_ms, d.made_ms, d.delivery)))
    ORDER BY d.priority, d.tries > 0, d.due_ms, d.made_ms
    LIMIT %(slots)s
    FOR UPDATE SKIP LOCKED)
UPDATE deliveries SET state = 'sending', lease = %(lease)s, leased_ms = %(until_ms)s,
                      due_ms = %(until_ms)s, tries = tries + 1
FROM taken WHERE taken.delivery = deliveries.delivery
RETURNING deliveries.delivery, key, channel, address, person, incident, kind, media, subject, body,
          tries, made_ms, asked_ms, until_ms, leased_ms, lease, replayed,
          coalesce((SELECT i.state FROM incidents i WHERE i.incident = deliveries.incident), '')
              AS incident_state

-- name: delivery_lease
-- This one delivery, where nobody has it.
UPDATE deliveries SET state = 'sending', lease = %(lease)s, leased_ms = %(until_ms)s,
                      due_ms = %(until_ms)s, tries = tries + 1
WHERE delivery = %(delivery)s AND state IN ('waiting', 'sending') AND due_ms <= %(now_ms)s
RETURNING delivery, key, channel, address, person, incident, kind, media, subject, body, tries,
          made_ms, asked_ms, until_ms, leased_ms, lease, replayed, '' AS incident_state

-- name: delivery_settle
-- What a try came to; nothing where somebody else has it by now.
UPDATE deliveries SET state = %(state)s, due_ms = %(due_ms)s, said = %(said)s, lease = '',
                      leased_ms = NULL, done_ms = %(done_ms)s
WHERE delivery = %(delivery)s AND state = 'sending' AND lease = %(lease)s

-- name: delivery_tried
-- One try, written down.
INSERT INTO delivery_tries (delivery, number, at_ms, took_ms, outcome, said)
VALUES (%(delivery)s, %(number)s, %(at_ms)s, %(took_ms)s, %(outcome)s, %(said)s)
ON CONFLICT (delivery, number) DO NOTHING

-- name: channel_well
-- Something arrived: the channel is tried as usual.
UPDATE alert_channels SET failures = 0, rests_ms = 0, sent_ms = %(now_ms)s, said = %(said)s
WHERE channel = %(channel)s AND (failures > 0 OR sent_ms IS NULL OR sent_ms < %(now_ms)s)

-- name: channel_ill
-- The channel itself did not work; after several times it rests a while.
UPDATE alert_channels
SET failures = failures + 1, said = %(said)s,
    rests_ms = CASE WHEN failures + 1 >= %(threshold)s
               THEN %(now_ms)s::bigint + least(%(longest_ms)s::bigint,
                    (%(rest_ms)s::bigint * power(2, least(failures + 1 - %(threshold)s, 10)))::bigint)
               ELSE 0 END
WHERE channel = %(channel)s
RETURNING failures

-- name: channel_disable
-- Nothing goes there any more until a person enables it; true where it did before.
UPDATE alert_channels
SET enabled = false, disabled_why = %(why)s, version = version + 1, changed_by = %(actor)s,
    changed_ms = %(now_ms)s
WHERE channel = %(channel)s AND enabled
RETURNING true

-- name: delivery_history
-- A line of the incident's timeline; none where there is no such incident.
INSERT INTO incident_history (incident, at_ms, kind, actor, text, body)
SELECT incident, %(at_ms)s, %(kind)s, %(actor)s, %(text)s, %(body)s
FROM incidents WHERE incident = %(incident)s

-- name: deliveries_over
-- What waited longer than it may is dead; a minute is left for the last try.
UPDATE deliveries SET state = 'dead', due_ms = NULL, done_ms = %(now_ms)s,
       said = CASE WHEN said = '' THEN 'waited too long' ELSE 'given up; last: ' || said END
WHERE delivery IN (SELECT delivery FROM deliveries
                   WHERE due_ms <= %(now_ms)s AND until_ms + 60000 < %(now_ms)s
                     AND (state = 'waiting' OR state = 'sending' AND leased_ms < %(now_ms)s)
                   ORDER BY due_ms LIMIT 500 FOR UPDATE SKIP LOCKED)
RETURNING delivery, incident, channel, address, person, kind

-- name: channel_get
-- One channel.
SELECT channel, kind, body, secret, version, enabled, disabled_why, changed_by, changed_ms,
       failures, rests_ms, sent_ms, said
FROM alert_channels WHERE channel = %(channel)s

-- name: channel_hold
-- One channel, held until the transaction ends.
SELECT channel, kind, body, secret, version, enabled, disabled_why, changed_by, changed_ms,
       failures, rests_ms, sent_ms, said
FROM alert_channels WHERE channel = %(channel)s FOR UPDATE

-- name: channel_put
-- A channel with these settings; trouble of before is forgotten.
INSERT INTO alert_channels (channel, kind, body, secret, changed_by, changed_ms)
VALUES (%(channel)s, %(kind)s, %(body)s, %(secret)s, %(actor)s, %(now_ms)s)
ON CONFLICT (channel) DO UPDATE
SET kind = excluded.kind, body = excluded.body, secret = excluded.secret,
    version = alert_channels.version + 1, changed_by = excluded.changed_by,
    changed_ms = excluded.changed_ms, failures = 0, rests_ms = 0

-- name: channels_all
-- Every channel by name.
SELECT channel, kind, body, secret, version, enabled, disabled_why, changed_by, changed_ms,
       failures, rests_ms, sent_ms, said
FROM alert_channels ORDER BY channel

-- name: channel_enable
-- It is tried again, as usual.
UPDATE alert_channels
SET enabled = true, disabled_why = '', failures = 0, rests_ms = 0, version = version + 1,
    changed_by = %(actor)s, changed_ms = %(now_ms)s
WHERE channel = %(channel)s

-- name: channel_remove
-- No such channel.
DELETE FROM alert_channels WHERE channel = %(channel)s

-- name: channel_reseal
-- The same secret under another key.
UPDATE alert_channels SET secret = %(secret)s WHERE channel = %(channel)s

-- name: deliveries_of_removed
-- What waited for a channel that is no more.
UPDATE deliveries SET state = 'cancelled', due_ms = NULL, done_ms = %(now_ms)s,
       said = 'the channel was removed'
WHERE channel = %(channel)s AND state = 'waiting'

-- name: channels_counts
-- Of each channel: what waits, since when the oldest does, what is dead, what was sent in a day.
SELECT channel, count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS waiting,
       min(asked_ms) FILTER (WHERE state IN ('waiting', 'sending')) AS oldest_ms,
       count(*) FILTER (WHERE state = 'dead') AS dead,
       count(*) FILTER (WHERE state = 'sent' AND done_ms > %(day_ms)s) AS sent_day
FROM deliveries
WHERE due_ms IS NOT NULL OR state = 'dead' OR made_ms > %(day_ms)s
GROUP BY channel

-- name: deliveries_page
-- Deliveries, newest first; of incidents in these sites where sites are given. A person's address
-- is personal data: their name stands for it. What was said speaks of all of an incident's sites.
SELECT delivery, channel, CASE WHEN person = '' THEN address ELSE '' END AS address, person,
       incident, kind, state, CASE WHEN %(sites)s::text[] IS NULL OR NOT EXISTS (
           SELECT 1 FROM incident_sites s
           WHERE s.incident = d.incident AND s.site <> ALL(%(sites)s::text[]))
       THEN subject ELSE '' END AS subject, media, made_ms, asked_ms, due_ms, tries, done_ms, said
FROM deliveries d
WHERE (%(state)s::text = '' OR state = %(state)s)
  AND (%(channel)s::text = '' OR channel = %(channel)s)
  AND (%(incident)s::text = '' OR incident = %(incident)s)
  AND (%(export)s::text = '' OR media <> '' AND split_part(key, ':', 1) IN ('export', 'try')
                                AND split_part(key, ':', 2) = %(export)s)
  AND (%(after_ms)s::bigint IS NULL OR (made_ms, delivery) < (%(after_ms)s, %(after)s::text))
  AND (%(sites)s::text[] IS NULL
       OR EXISTS (SELECT 1 FROM incident_sites s
                  WHERE s.incident = d.incident AND s.site = ANY(%(sites)s::text[])))
ORDER BY made_ms DESC, delivery DESC LIMIT %(limit)s

-- name: delivery_one
-- One delivery with what is sent; for somebody with a scope, where all of its sites are theirs.
SELECT delivery, channel, CASE WHEN person = '' THEN address ELSE '' END AS address, person,
       incident, kind, state, subject, media, made_ms, asked_ms, due_ms, tries, done_ms, said, body
FROM deliveries d
WHERE delivery = %(delivery)s
  AND (%(sites)s::text[] IS NULL
       OR (EXISTS (SELECT 1 FROM incident_sites s WHERE s.incident = d.incident)
           AND NOT EXISTS (SELECT 1 FROM incident_sites s WHERE s.incident = d.incident
                           AND s.site <> ALL(%(sites)s::text[]))))

-- name: delivery_tries_of
-- Each try of a delivery, the last first.
SELECT number, at_ms, took_ms, outcome, said FROM delivery_tries
WHERE delivery = %(delivery)s ORDER BY number DESC LIMIT 100

-- name: delivery_replay
-- One that is dead or was cancelled is sent after all; its id stays.
UPDATE deliveries SET state = 'waiting', due_ms = %(now_ms)s, until_ms = %(until_ms)s,
       done_ms = NULL, replayed = tries
WHERE delivery = %(delivery)s AND state IN ('dead', 'cancelled')

-- name: deliveries_replay
-- Everything dead on a channel is sent after all.
UPDATE deliveries SET state = 'waiting', due_ms = %(now_ms)s, until_ms = %(until_ms)s,
       done_ms = NULL, replayed = tries
WHERE channel = %(channel)s AND state = 'dead'

-- name: delivery_cancel
-- One that waits is not sent.
UPDATE deliveries SET state = 'cancelled', due_ms = NULL, done_ms = %(now_ms)s, said = %(said)s
WHERE delivery = %(delivery)s AND state = 'waiting'

-- name: mirror_places
-- Sites, devices that are not revoked, and their cameras.
SELECT site, '' AS device, '' AS camera, name FROM sites
UNION ALL
SELECT site, device, '', '' FROM devices WHERE revoked_ms IS NULL
UNION ALL
SELECT d.site, c.device, c.camera, c.name FROM cameras c JOIN devices d USING (device)
WHERE d.revoked_ms IS NULL
ORDER BY 1, 2, 3 LIMIT 20000

-- name: mirror_incidents
-- What is open now.
SELECT body FROM incidents WHERE state <> 'resolved' ORDER BY opened_ms DESC LIMIT 2000

-- name: mirror_channels
-- Brokers.
SELECT channel, kind, body, secret, version, enabled, disabled_why, changed_by, changed_ms,
       failures, rests_ms, sent_ms, said
FROM alert_channels WHERE kind = 'mqtt' AND enabled ORDER BY channel

-- name: deliveries_expire
-- What came to its end long ago, dead ones too.
DELETE FROM deliveries WHERE made_ms < %(before_ms)s AND due_ms IS NULL

-- name: meter_deliveries
-- Deliveries that wait and that are dead, and since when the oldest waits.
SELECT count(*) FILTER (WHERE due_ms IS NOT NULL), count(*) FILTER (WHERE state = 'dead'),
       min(asked_ms) FILTER (WHERE due_ms IS NOT NULL)
FROM deliveries WHERE due_ms IS NOT NULL OR state = 'dead'

-- name: delivery_of_key
-- The delivery that was put under a key.
SELECT delivery FROM deliveries WHERE key = %(key)s
