-- Exports and holds.

-- name: exports_all
-- Every export, by name.
SELECT export, version, enabled, body, changed_by, changed_ms FROM exports ORDER BY export

-- name: export_get
-- One, held until the transaction ends.
SELECT export, version, enabled, body, changed_by, changed_ms FROM exports
WHERE export = %(export)s FOR UPDATE

-- name: export_put
-- An export as it is now.
INSERT INTO exports (export, enabled, body, changed_by, changed_ms)
VALUES (%(export)s, %(enabled)s, %(body)s, %(by)s, %(now_ms)s)
ON CONFLICT (export) DO UPDATE
SET version = exports.version + 1, enabled = excluded.enabled, body = excluded.body,
    changed_by = excluded.changed_by, changed_ms = excluded.changed_ms

-- name: export_drop
-- No such export.
DELETE FROM exports WHERE export = %(export)s

-- name: exports_counts
-- Of each export: what waits, since when the oldest does, what is dead and why the last is, what was
-- sent in a day, and when the last of a day was.
SELECT split_part(key, ':', 2) AS export,
       count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS waiting,
       min(asked_ms) FILTER (WHERE state IN ('waiting', 'sending')) AS oldest_ms,
       count(*) FILTER (WHERE state = 'dead') AS dead,
       max(coalesce(done_ms, made_ms)) FILTER (WHERE state = 'dead') AS dead_ms,
       coalesce((array_agg(said ORDER BY coalesce(done_ms, made_ms) DESC)
                 FILTER (WHERE state = 'dead'))[1], '') AS dead_said,
       count(*) FILTER (WHERE state = 'sent' AND done_ms > %(day_ms)s) AS sent_day,
       max(done_ms) FILTER (WHERE state = 'sent') AS sent_ms
FROM deliveries
WHERE media <> '' AND split_part(key, ':', 1) IN ('export', 'try')
  AND (due_ms IS NOT NULL OR state = 'dead' OR made_ms > %(day_ms)s)
GROUP BY 1

-- name: exports_sent
-- When the last thing arrived that some exports told of, where one did since then.
SELECT split_part(key, ':', 2) AS export, max(done_ms) AS sent_ms
FROM deliveries
WHERE media <> '' AND state = 'sent' AND made_ms > %(from_ms)s
  AND split_part(key, ':', 2) = ANY(%(exports)s::text[])
  AND split_part(key, ':', 1) IN ('export', 'try')
GROUP BY 1

-- name: export_replay
-- Everything dead that one export told of is sent after all, where its channel is still there.
UPDATE deliveries SET state = 'waiting', due_ms = %(now_ms)s, until_ms = %(until_ms)s,
       done_ms = NULL, replayed = tries
WHERE state = 'dead' AND media <> '' AND split_part(key, ':', 1) IN ('export', 'try')
  AND split_part(key, ':', 2) = %(export)s
  AND EXISTS (SELECT FROM alert_channels c WHERE c.channel = deliveries.channel)

-- name: export_fetches_count
-- How many clips wait until their devices can be asked for them.
SELECT count(*) FROM export_inbox WHERE kind = 'fetch'

-- name: export_lock
-- One turn at a time; another worker's turn is passed over.
SELECT pg_try_advisory_xact_lock(7150062)

-- name: export_take
-- What nobody looked at yet, with all that an export may say of it; evidence that came before its
-- event waits for it.
WITH taken AS (
    DELETE FROM export_inbox WHERE number IN (
        SELECT i.number FROM export_inbox i
        WHERE i.kind <> 'fetch'
          AND EXISTS (SELECT FROM events WHERE device = i.device AND event = i.event)
        ORDER BY i.number LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING number, kind, device, event, evidence, received_ms)
SELECT t.number, t.kind, e.device, e.event, e.site, s.name AS site_name, e.camera, e.kind AS what,
       e.at_ms, e.received_ms, e.late, e.body, v.evidence, v.status, v.body AS evidence_body
FROM taken t JOIN events e ON e.device = t.device AND e.event = t.event
     JOIN sites s ON s.site = e.site
     LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence
ORDER BY t.number

-- name: export_fetch_put
-- A clip that an export wants to have here.
INSERT INTO export_inbox (kind, device, event, evidence, received_ms)
SELECT 'fetch', %(device)s, %(event)s, %(evidence)s, %(now_ms)s
WHERE NOT EXISTS (SELECT FROM export_inbox
                  WHERE kind = 'fetch' AND device = %(device)s AND evidence = %(evidence)s)

-- name: export_fetches
-- Clips that are wanted, of each device as many as it can be asked for more.
SELECT i.number, i.device, i.event, i.evidence, e.site, e.camera
FROM (SELECT *, row_number() OVER (PARTITION BY device ORDER BY number) AS nth
      FROM export_inbox WHERE kind = 'fetch') i
     JOIN events e ON e.device = i.device AND e.event = i.event
WHERE i.nth <= %(most)s - (SELECT count(*) FROM clips c WHERE c.device = i.device
                           AND c.state IN ('asked', 'sending') AND c.expires_ms > %(now_ms)s)
ORDER BY i.number LIMIT %(limit)s

-- name: export_fetched
-- It was asked for.
DELETE FROM export_inbox WHERE number = %(number)s

-- name: export_recent
-- The newest events, each as the most that could be said of it, to try an export with.
SELECT 0 AS number, CASE WHEN c.state = 'here' THEN 'clip' WHEN v.status IS NOT NULL THEN 'evidence'
                         ELSE 'event' END AS kind,
       e.device, e.event, e.site, s.name AS site_name, e.camera, e.kind AS what, e.at_ms,
       e.received_ms, e.late, e.body, v.evidence, v.status, v.body AS evidence_body
FROM events e JOIN sites s ON s.site = e.site
     LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence
     LEFT JOIN clips c ON c.device = e.device AND c.evidence = e.evidence
WHERE e.at_ms >= %(from_ms)s
ORDER BY e.at_ms DESC, e.device, e.event LIMIT %(limit)s

-- name: export_inbox_expire
-- What nobody looked at for long.
DELETE FROM export_inbox WHERE received_ms < %(before_ms)s

-- name: hold_event
-- The event that is to be held, as it is here.
SELECT device, event, site, camera, evidence FROM events
WHERE device = %(device)s AND event = %(event)s

-- name: hold_put
-- An event is held; True where it was not before.
INSERT INTO evidence_holds (device, event, evidence, site, camera, reason, held_by, held_ms)
VALUES (%(device)s, %(event)s, %(evidence)s, %(site)s, %(camera)s, %(reason)s, %(by)s, %(now_ms)s)
ON CONFLICT (device, event) DO NOTHING RETURNING true

-- name: hold_drop
-- It is held no more; its evidence.
DELETE FROM evidence_holds WHERE device = %(device)s AND event = %(event)s RETURNING evidence

-- name: hold_names
-- True while an event holds this evidence.
SELECT true FROM evidence_holds
WHERE device = %(device)s AND evidence = %(evidence)s AND evidence <> '' LIMIT 1

-- name: hold_of
-- Why an event is held, and what the device said to it.
SELECT h.device, h.event, h.evidence, h.site, h.camera, h.reason, h.held_by, h.held_ms,
       r.answered_ms, coalesce(r.refused, '') AS refused,
       CASE WHEN h.evidence = '' THEN 'none' WHEN r.answered_ms IS NULL THEN 'asked'
            WHEN r.refused <> '' THEN 'refused' ELSE 'held' END AS on_device
FROM evidence_holds h LEFT JOIN LATERAL (
    SELECT answered_ms, refused FROM requests
    WHERE device = h.device AND evidence = h.evidence AND kind = 'hold'
    ORDER BY asked_ms DESC, request DESC LIMIT 1) r ON true
WHERE h.device = %(device)s AND h.event = %(event)s

-- name: holds_page
-- What is held, the newest first.
SELECT h.device, h.event, h.evidence, h.site, h.camera, h.reason, h.held_by, h.held_ms,
       r.answered_ms, coalesce(r.refused, '') AS refused,
       CASE WHEN h.evidence = '' THEN 'none' WHEN r.answered_ms IS NULL THEN 'asked'
            WHEN r.refused <> '' THEN 'refused' ELSE 'held' END AS on_device
FROM evidence_holds h LEFT JOIN LATERAL (
    SELECT answered_ms, refused FROM requests
    WHERE device = h.device AND evidence = h.evidence AND kind = 'hold'
    ORDER BY asked_ms DESC, request DESC LIMIT 1) r ON true
WHERE (%(scope)s::text[] IS NULL OR h.site = ANY(%(scope)s::text[]))
  AND (%(site)s = '' OR h.site = %(site)s)
  AND (h.held_ms, h.device, h.event) < (%(after_ms)s, %(after_device)s, %(after_event)s)
ORDER BY h.held_ms DESC, h.device DESC, h.event DESC LIMIT %(limit)s

-- name: holds_count
-- How many events are held.
SELECT count(*) FROM evidence_holds

-- name: hold_request_put
-- The device is asked to hold or to release.
INSERT INTO requests (request, device, kind, camera, asked_by, asked_ms, expires_ms, evidence,
                      reason)
VALUES (%(request)s, %(device)s, %(kind)s, '', %(by)s, %(now_ms)s, %(expires_ms)s, %(evidence)s,
        %(reason)s)

-- name: hold_requests_over
-- Earlier questions about the same package are over.
UPDATE requests SET answered_ms = %(now_ms)s, refused = 'asked otherwise'
WHERE device = %(device)s AND evidence = %(evidence)s AND kind IN ('hold', 'release')
  AND answered_ms IS NULL

-- name: archive_events
-- Events with evidence in a window, oldest first, and how far the clip of each is.
SELECT 0 AS number, 'clip' AS kind, e.device, e.event, e.site, s.name AS site_name, e.camera,
       e.kind AS what, e.at_ms, e.received_ms, e.late, e.body, e.evidence, v.status,
       v.body AS evidence_body, coalesce(c.state, '') AS state, coalesce(c.form, '') AS form,
       coalesce(c.expires_ms, 0) AS expires_ms, h.event IS NOT NULL AS held
FROM events e JOIN sites s ON s.site = e.site
     LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence
     LEFT JOIN clips c ON c.device = e.device AND c.evidence = e.evidence
     LEFT JOIN evidence_holds h ON h.device = e.device AND h.event = e.event
WHERE e.evidence <> '' AND e.at_ms >= %(from_ms)s AND e.at_ms < %(to_ms)s
  AND (%(scope)s::text[] IS NULL OR e.site = ANY(%(scope)s::text[]))
  AND (%(site)s = '' OR e.site = %(site)s) AND (%(device)s = '' OR e.device = %(device)s)
  AND (%(camera)s = '' OR e.camera = %(camera)s) AND (%(what)s = '' OR e.kind = %(what)s)
  AND (NOT %(held)s OR h.event IS NOT NULL)
ORDER BY e.at_ms, e.device, e.event LIMIT %(limit)s

-- name: archive_files
-- The files of some clips, by name.
SELECT f.device, f.evidence, f.name, f.sha256, f.bytes, f.whole
FROM clip_files f JOIN unnest(%(device)s::text[], %(evidence)s::text[]) AS n (device, evidence)
     ON n.device = f.device AND n.evidence = f.evidence
ORDER BY f.device, f.evidence, f.name
