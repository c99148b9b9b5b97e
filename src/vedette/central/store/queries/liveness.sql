-- Liveness: deadlines, and central's own presence.

-- name: deadlines_move
-- Deadlines that passed of devices that were heard since: ingest leaves them to us.
WITH passed AS (
    SELECT device FROM devices
    WHERE state = 'ok' AND dark_deadline_ms <= %(now_ms)s
      AND dark_deadline_ms < last_contact_ms + %(dark_after_ms)s
    FOR NO KEY UPDATE SKIP LOCKED)
UPDATE devices d SET dark_deadline_ms = d.last_contact_ms + %(dark_after_ms)s
FROM passed WHERE d.device = passed.device

-- name: devices_overdue
-- Devices whose deadline passed become dark, dated when they were last heard; each only once.
WITH due AS (
    SELECT device FROM devices
    WHERE state = 'ok' AND dark_deadline_ms <= %(now_ms)s
      AND dark_deadline_ms >= last_contact_ms + %(dark_after_ms)s
    ORDER BY dark_deadline_ms LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
turned AS (
    UPDATE devices d SET state = 'dark', since_ms = d.last_contact_ms
    FROM due WHERE d.device = due.device AND d.state = 'ok'
    RETURNING d.device, d.site, d.last_contact_ms)
INSERT INTO device_transitions (device, at_ms, noticed_ms, state)
SELECT device, last_contact_ms, %(now_ms)s, 'dark' FROM turned
ON CONFLICT DO NOTHING
RETURNING device, (SELECT site FROM turned t WHERE t.device = device_transitions.device) AS site,
          at_ms

-- name: deadline_next
-- The earliest deadline of a device that is not dark.
SELECT min(dark_deadline_ms) FROM devices WHERE state = 'ok'

-- name: deadlines_grace
-- After central was away nobody is called dark before having had time to speak again.
WITH held AS (
    SELECT device FROM devices WHERE state = 'ok' AND dark_deadline_ms < %(deadline_ms)s
    ORDER BY device FOR NO KEY UPDATE)
UPDATE devices d SET dark_deadline_ms = %(deadline_ms)s FROM held WHERE d.device = held.device

-- name: heartbeat_read
-- When central last was certainly here; held until the new beat is stored.
SELECT beat_ms FROM central_heartbeat FOR UPDATE

-- name: heartbeat_write
-- Central is here.
INSERT INTO central_heartbeat (beat_ms) VALUES (%(now_ms)s)
ON CONFLICT (one) DO UPDATE SET beat_ms = excluded.beat_ms

-- name: central_down_add
-- Central was away.
INSERT INTO central_downs (start_ms, end_ms) VALUES (%(start_ms)s, %(end_ms)s)
ON CONFLICT (start_ms) DO UPDATE SET end_ms = greatest(central_downs.end_ms, excluded.end_ms)
