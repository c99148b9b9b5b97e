-- Rules of alerts: what people wrote, what is looked at, what holds now.

-- name: alert_book_version
-- The number of everything that is written about alerts.
SELECT version FROM alert_book

-- name: alert_book_hold
-- The same, for as long as this transaction writes in it.
SELECT version FROM alert_book FOR UPDATE

-- name: alert_book_turn
-- Something in it changed.
UPDATE alert_book SET version = version + 1

-- name: alert_documents_now
-- The newest version of every document.
SELECT DISTINCT ON (kind, name) kind, name, version, body, changed_by, changed_ms, note
FROM alert_documents ORDER BY kind, name, version DESC

-- name: alert_document_now
-- The newest version of one document.
SELECT kind, name, version, body, changed_by, changed_ms, note FROM alert_documents
WHERE kind = %(kind)s AND name = %(name)s ORDER BY version DESC LIMIT 1

-- name: alert_documents_count
-- How many documents of a kind are there.
SELECT count(*) FROM (
    SELECT DISTINCT ON (name) body FROM alert_documents WHERE kind = %(kind)s
    ORDER BY name, version DESC) newest
WHERE body IS NOT NULL

-- name: alert_document_add
-- One more version.
INSERT INTO alert_documents (kind, name, version, body, changed_by, changed_ms, note)
VALUES (%(kind)s, %(name)s, %(version)s, %(body)s, %(by)s, %(now_ms)s, %(note)s)

-- name: alert_document_versions
-- What a document said, newest first.
SELECT kind, name, version, body, changed_by, changed_ms, note FROM alert_documents
WHERE kind = %(kind)s AND name = %(name)s AND version < %(below)s
ORDER BY version DESC LIMIT %(limit)s

-- name: alert_inbox_take
-- Events that nobody looked at yet, oldest first, and what is asked of them; they are out with this.
WITH taken AS (
    DELETE FROM alert_inbox WHERE number IN (
        SELECT number FROM alert_inbox ORDER BY number LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING number, device, event)
SELECT e.device, e.event, e.site, e.camera, e.kind, e.at_ms, e.received_ms, e.late, e.label,
       e.where_name, e.evidence, e.body
FROM taken t JOIN events e USING (device, event) ORDER BY t.number

-- name: alert_counts_read
-- When what rules count happened last.
SELECT c.rule, c.key, c.at_ms FROM alert_counts c
JOIN unnest(%(rules)s::text[], %(keys)s::text[]) AS wanted (rule, key) USING (rule, key) FOR UPDATE

-- name: alert_count_put
-- One of them.
INSERT INTO alert_counts (rule, key, at_ms) VALUES (%(rule)s, %(key)s, %(at_ms)s)
ON CONFLICT (rule, key) DO UPDATE SET at_ms = excluded.at_ms

-- name: alert_conditions_due
-- Rows whose time has come, oldest first, and whether their device is dark; held, others pass over.
SELECT c.rule, c.subject, c.since_ms, c.well_ms, c.raised_ms, c.value, c.text, c.due_ms, c.gone,
       coalesce(d.state = 'dark', false) AS is_dark
FROM alert_conditions c LEFT JOIN devices d ON d.device = c.device
WHERE c.due_ms <= %(now_ms)s ORDER BY c.due_ms LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED

-- name: alert_conditions_of_rules
-- All rows of some rules, held.
SELECT rule, subject, since_ms, well_ms, raised_ms, value, text, due_ms, gone FROM alert_conditions
WHERE rule = ANY(%(rules)s) ORDER BY rule, subject FOR UPDATE

-- name: alert_conditions_of_devices
-- All rows of some rules on some devices, held.
SELECT rule, subject, since_ms, well_ms, raised_ms, value, text, due_ms, gone FROM alert_conditions
WHERE rule = ANY(%(rules)s) AND device = ANY(%(devices)s) ORDER BY rule, subject FOR UPDATE

-- name: alert_conditions_stray
-- All rows of rules that nobody has any more, held.
SELECT rule, subject, since_ms, well_ms, raised_ms, value, text, due_ms, gone FROM alert_conditions
WHERE NOT gone AND rule <> ALL(%(rules)s) ORDER BY rule, subject FOR UPDATE

-- name: alert_conditions_put
-- Rows as they are now.
INSERT INTO alert_conditions AS c (rule, subject, since_ms, well_ms, raised_ms, value, text, due_ms,
                                   gone)
SELECT * FROM unnest(%(rule)s::text[], %(subject)s::text[], %(since_ms)s::bigint[],
                     %(well_ms)s::bigint[], %(raised_ms)s::bigint[], %(value)s::float8[],
                     %(text)s::text[], %(due_ms)s::bigint[], %(gone)s::boolean[])
ON CONFLICT (rule, subject) DO UPDATE SET since_ms = excluded.since_ms, well_ms = excluded.well_ms,
    raised_ms = excluded.raised_ms, value = excluded.value, text = excluded.text,
    due_ms = excluded.due_ms, gone = excluded.gone

-- name: alert_conditions_drop
-- Rows that are over.
DELETE FROM alert_conditions c USING unnest(%(rule)s::text[], %(subject)s::text[]) AS ended (rule, subject)
WHERE c.rule = ended.rule AND c.subject = ended.subject

-- name: alert_looks_all
-- When each source was looked at last, and what it was like.
SELECT source, looked_ms, book, mark FROM alert_looks

-- name: alert_look_put
-- A source was looked at.
INSERT INTO alert_looks (source, looked_ms, book, mark)
VALUES (%(source)s, %(looked_ms)s, %(book)s, %(mark)s)
ON CONFLICT (source) DO UPDATE
SET looked_ms = excluded.looked_ms, book = excluded.book, mark = excluded.mark

-- name: alert_marks
-- What is in trouble by central's own tables, as one number for each: as it was, or not.
SELECT 'devices' AS source, count(*) || ' ' || coalesce(sum(hashtextextended(
           device || state || coalesce(quarantined_ms, 0) || '|' || coalesce(revoked_ms, 0),
           coalesce(since_ms, 0))), 0) AS mark
FROM devices WHERE state = 'dark' OR quarantined_ms IS NOT NULL
UNION ALL
SELECT 'sites', count(*) || ' ' || coalesce(sum(hashtextextended(site, dark_since_ms)), 0)
FROM sites WHERE dark_since_ms IS NOT NULL
UNION ALL
SELECT 'cameras', count(*) || ' ' || coalesce(sum(hashtextextended(
           device || '/' || camera || state, coalesce(since_ms, 0))), 0)
FROM cameras WHERE state IN ('down', 'tampered', 'degraded')
UNION ALL
SELECT 'slots', count(*) || ' ' || coalesce(sum(hashtextextended(
           device || '/' || slot || state, changed_ms)), 0)
FROM device_slots WHERE state = 'reverted' OR problem <> ''
UNION ALL
SELECT 'rollouts', count(*) || ' ' || coalesce(sum(hashtextextended(rollout || state, since_ms)), 0)
FROM rollouts WHERE state IN ('rolling_back', 'rolled_back', 'inconclusive', 'stopped')

-- name: alert_bad_devices
-- Devices that are dark or in quarantine.
SELECT d.site, d.device, d.state, d.since_ms, d.quarantined_ms FROM devices d
WHERE (d.state = 'dark' OR d.quarantined_ms IS NOT NULL) AND d.revoked_ms IS NULL

-- name: alert_bad_sites
-- Sites that are dark as a whole.
SELECT site, dark_since_ms FROM sites WHERE dark_since_ms IS NOT NULL

-- name: alert_bad_cameras
-- Cameras that are down, tampered or degraded, of devices that are heard.
SELECT d.site, c.device, c.camera, c.state, c.since_ms, c.signs, c.detail
FROM cameras c JOIN devices d USING (device)
WHERE c.state IN ('down', 'tampered', 'degraded') AND d.state = 'ok' AND d.revoked_ms IS NULL

-- name: alert_unlisted_reports
-- The same with the newest reports of their devices, in order, after one.
SELECT c.device, c.camera, c.since_ms, d.health, d.last_contact_ms
FROM cameras c JOIN devices d USING (device)
WHERE c.state IN ('down', 'tampered', 'degraded') AND d.state = 'ok' AND d.revoked_ms IS NULL
  AND d.health IS NOT NULL AND c.since_ms IS NOT NULL AND d.last_contact_ms IS NOT NULL
  AND (c.device, c.camera) > (%(after_device)s, %(after_camera)s)
ORDER BY c.device, c.camera LIMIT %(limit)s

-- name: alert_bad_slots
-- Slots of devices that went back to what was before, or do not get on.
SELECT d.site, s.device, s.slot, s.state, s.problem, s.changed_ms
FROM device_slots s JOIN devices d USING (device)
WHERE (s.state = 'reverted' OR s.problem <> '') AND d.state = 'ok' AND d.revoked_ms IS NULL

-- name: alert_bad_rollouts
-- Rollouts in trouble; those that ended so, as long as it is news.
SELECT rollout, state, since_ms, reason FROM rollouts
WHERE state IN ('rolling_back', 'inconclusive')
   OR (state IN ('rolled_back', 'stopped') AND since_ms > %(news_ms)s)

-- name: alert_standing
-- How devices are, where they are still there.
SELECT device, state, since_ms FROM devices
WHERE device = ANY(%(devices)s) AND revoked_ms IS NULL

-- name: alert_standing_cameras
-- How the cameras of devices are.
SELECT device, camera, state, since_ms FROM cameras WHERE device = ANY(%(devices)s)

-- name: alert_reports
-- The newest reports of devices that spoke since a moment, in order of their names.
SELECT device, site, clock_state, health, coalesce(health_at_ms, 0), last_contact_ms FROM devices
WHERE state = 'ok' AND revoked_ms IS NULL AND health IS NOT NULL
  AND last_contact_ms >= %(since_ms)s AND device > %(after)s
ORDER BY device LIMIT %(limit)s

-- name: alert_crashes_read
-- Crashes that devices spoke of before.
SELECT device, crashes, at_ms FROM alert_crashes WHERE device = ANY(%(devices)s)

-- name: alert_crashes_put
-- How many crashes a device speaks of, and when those of the last hour were.
INSERT INTO alert_crashes (device, crashes, at_ms) VALUES (%(device)s, %(crashes)s, %(at_ms)s)
ON CONFLICT (device) DO UPDATE SET crashes = excluded.crashes, at_ms = excluded.at_ms

-- name: alert_overridden
-- What people said of the events of each camera in a window.
SELECT site, device, camera, count(*) FILTER (WHERE verdict = 'right') AS agreed,
       count(*) FILTER (WHERE verdict = 'wrong') AS overridden
FROM overrides WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s
GROUP BY site, device, camera

-- name: alert_devices_after
-- Devices by name, from one on.
SELECT device FROM devices WHERE device > %(after)s AND revoked_ms IS NULL
ORDER BY device LIMIT %(limit)s

-- name: alert_day_bodies
-- Merged days of the cameras of devices.
SELECT d.site, r.device, r.camera, r.start_ms, r.body
FROM rollup_day r JOIN devices d USING (device)
WHERE r.device = ANY(%(devices)s) AND r.start_ms >= %(from_ms)s AND r.start_ms < %(to_ms)s

-- name: alert_conditions_lost
-- Rows about devices that are not there any more are over.
UPDATE alert_conditions c SET gone = true, due_ms = %(now_ms)s, well_ms = %(now_ms)s,
       text = 'the device is not there any more'
WHERE NOT c.gone AND c.device <> ''
  AND NOT EXISTS (SELECT FROM devices d WHERE d.device = c.device AND d.revoked_ms IS NULL)

-- name: alert_counts_expire
-- Times that were counted so long ago that no rule counts them any more.
DELETE FROM alert_counts WHERE at_ms[cardinality(at_ms)] < %(before_ms)s

-- name: set_back_conditions
-- Nothing began in a time to come, and nothing waits for one.
UPDATE alert_conditions SET since_ms = least(since_ms, %(now_ms)s),
       well_ms = least(well_ms, %(now_ms)s), raised_ms = least(raised_ms, %(now_ms)s),
       due_ms = least(due_ms, %(now_ms)s)
WHERE greatest(since_ms, well_ms, raised_ms, due_ms) > %(now_ms)s

-- name: alert_names
-- Names that rules, ladders, schedules and contacts may speak of.
SELECT 'user', username FROM users WHERE disabled_ms IS NULL
UNION ALL SELECT 'group', name FROM selections
UNION ALL SELECT 'site', site FROM sites
UNION ALL SELECT DISTINCT 'folder', folder FROM sites WHERE folder <> ''
UNION ALL SELECT 'without hours', site FROM sites WHERE hours IS NULL
UNION ALL SELECT 'device', device FROM devices WHERE revoked_ms IS NULL

-- name: alert_conditions_mending
-- What counts as trouble still, and is well at the moment.
SELECT rule, subject FROM alert_conditions
WHERE well_ms IS NOT NULL AND raised_ms IS NOT NULL AND NOT gone LIMIT %(limit)s

-- name: alert_history_devices
-- Devices with their sites, in scope, and since when they are known.
SELECT device, site, enrolled_ms FROM devices
WHERE revoked_ms IS NULL AND (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]))

-- name: alert_history_events
-- Events of some kinds in the order in which they happened, after one.
SELECT device, event, site, camera, kind, at_ms, received_ms, late, label, where_name, evidence, body
FROM events
WHERE (at_ms, device, event) > (%(after_ms)s, %(after_device)s, %(after_event)s)
  AND at_ms >= %(after_ms)s AND at_ms < %(to_ms)s
  AND kind = ANY(%(kinds)s) AND site = ANY(%(sites)s)
ORDER BY at_ms, device, event LIMIT %(limit)s

-- name: alert_history_sites
-- When sites went dark and came back.
SELECT site, at_ms, state FROM site_transitions
WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s ORDER BY site, at_ms, state

-- name: alert_history_dark
-- When devices went dark and came back.
SELECT device, at_ms, state FROM device_transitions
WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s ORDER BY device, at_ms, state

-- name: alert_history_cameras
-- How cameras were.
SELECT device, camera, at_ms, state, signs, detail FROM camera_states
WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s ORDER BY device, camera, at_ms, epoch, seq

-- name: alert_history_rollouts
-- How rollouts (device '') and their devices went on.
SELECT h.rollout, r.slot, h.device, h.at_ms, h.state, h.reason
FROM rollout_history h JOIN rollouts r USING (rollout)
WHERE h.at_ms >= %(from_ms)s AND h.at_ms < %(to_ms)s ORDER BY h.at_ms, h.number

-- name: alert_history_reports
-- Health reports of a device as they came, one in so many, in order.
SELECT made_ms, clock_state, body FROM reports
WHERE keep_days = 7 AND day >= DATE '1970-01-01' + %(from_day)s::integer
  AND day <= DATE '1970-01-01' + %(to_day)s::integer + 2
  AND device = %(device)s AND schema = 'health.v1' AND outcome = 'accepted'
  AND made_ms >= %(from_ms)s AND made_ms < %(to_ms)s AND made_ms / 30000 %% %(thin)s = 0
ORDER BY made_ms
