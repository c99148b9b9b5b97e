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

-- name: sites_fell
-- Sites of which no device is left, where those that fell last fell together: dark since the last
-- sign of life.
WITH found AS (
    SELECT d.site, max(d.last_contact_ms) AS at_ms, count(*) AS devices
    FROM devices d JOIN sites s USING (site)
    WHERE s.dark_since_ms IS NULL AND d.revoked_ms IS NULL AND d.state <> 'never'
      AND (%(sites)s::text[] IS NULL OR d.site = ANY(%(sites)s::text[]))
    GROUP BY d.site HAVING bool_and(d.state = 'dark')),
together AS (
    SELECT f.site, f.at_ms, f.devices, array_agg(d.device ORDER BY d.device) AS fell
    FROM found f JOIN devices d ON d.site = f.site AND d.revoked_ms IS NULL AND d.state = 'dark'
      AND d.last_contact_ms >= f.at_ms - %(together_ms)s
    GROUP BY f.site, f.at_ms, f.devices),
turned AS (
    UPDATE sites s SET dark_since_ms = t.at_ms FROM together t
    WHERE s.site = t.site AND s.dark_since_ms IS NULL
      AND (t.devices = 1 OR cardinality(t.fell) > 1)
    RETURNING s.site, t.at_ms, t.fell)
INSERT INTO site_transitions (site, at_ms, noticed_ms, state, devices)
SELECT site, at_ms, %(now_ms)s, 'dark', fell FROM turned
ON CONFLICT (site, at_ms, state) DO UPDATE SET devices = excluded.devices
RETURNING site, at_ms, state, devices

-- name: sites_back
-- Dark sites of which a device was heard again: back since the first of them.
WITH found AS (
    SELECT d.site, min(d.since_ms) AS at_ms, array_agg(d.device ORDER BY d.device) AS devices
    FROM sites s JOIN devices d USING (site)
    WHERE s.dark_since_ms IS NOT NULL AND d.revoked_ms IS NULL AND d.state = 'ok'
    GROUP BY d.site),
turned AS (
    UPDATE sites s SET dark_since_ms = NULL FROM found f
    WHERE s.site = f.site AND s.dark_since_ms IS NOT NULL
    RETURNING s.site, f.at_ms, f.devices)
INSERT INTO site_transitions (site, at_ms, noticed_ms, state, devices)
SELECT site, at_ms, %(now_ms)s, 'ok', devices FROM turned
ON CONFLICT (site, at_ms, state) DO UPDATE SET devices = excluded.devices
RETURNING site, at_ms, state, devices

-- name: site_transitions_of
-- When a site was dark as a whole, newest first.
SELECT site, at_ms, state, devices FROM site_transitions
WHERE site = %(site)s AND (at_ms, state) < (%(after_ms)s, %(after_state)s)
ORDER BY at_ms DESC, state DESC LIMIT %(limit)s

-- name: clock_step_add
-- Something that happened to central's wall clock.
INSERT INTO clock_steps (noticed_ms, by_ms, outcome)
VALUES (%(at_ms)s, %(by_ms)s, %(outcome)s)

-- name: clock_steps_newest
-- What happened to central's wall clock, newest first.
SELECT number, noticed_ms AS at_ms, by_ms, outcome FROM clock_steps
WHERE number < %(below)s ORDER BY number DESC LIMIT %(limit)s

-- name: set_back_devices
-- No device was heard in a time to come, and none has until then to speak.
UPDATE devices SET last_contact_ms = least(last_contact_ms, %(now_ms)s),
    since_ms = least(since_ms, %(now_ms)s),
    drained_to_ms = least(drained_to_ms, %(now_ms)s),
    dark_deadline_ms = least(dark_deadline_ms, %(deadline_ms)s)
WHERE greatest(last_contact_ms, since_ms, drained_to_ms) > %(now_ms)s
   OR dark_deadline_ms > %(deadline_ms)s

-- name: set_back_transitions
-- What devices did in a time to come, they do now: the last of it.
WITH moved AS (
    DELETE FROM device_transitions WHERE at_ms > %(now_ms)s RETURNING device),
latest AS (
    SELECT DISTINCT d.device, d.state FROM moved JOIN devices d USING (device)
    WHERE d.state <> 'never')
INSERT INTO device_transitions (device, at_ms, noticed_ms, state)
SELECT device, %(now_ms)s, %(now_ms)s, state FROM latest ON CONFLICT DO NOTHING

-- name: set_back_sites
-- The same for whole sites.
WITH gone AS (DELETE FROM site_transitions WHERE at_ms > %(now_ms)s)
UPDATE sites SET dark_since_ms = %(now_ms)s WHERE dark_since_ms > %(now_ms)s

-- name: set_back_downs
-- Central was not away in a time to come.
WITH gone AS (DELETE FROM central_downs WHERE start_ms >= %(now_ms)s)
UPDATE central_downs SET end_ms = %(now_ms)s WHERE start_ms < %(now_ms)s AND end_ms > %(now_ms)s

-- name: set_back_coverage
-- Nothing is resolved for good of a time to come.
UPDATE coverage_through SET through_ms = %(now_ms)s / 3600000 * 3600000
WHERE through_ms > %(now_ms)s
