-- Incidents: the engine's turn, what people do about them, and how they are looked at.

-- name: alerts_hold
-- Only one transaction decides about incidents at a time; one that hangs is ended by the server.
SELECT set_config('idle_in_transaction_session_timeout', '15000', true),
       set_config('lock_timeout', '20000', true)

-- name: alerts_lock
-- The lock itself.
SELECT pg_advisory_xact_lock(7306371648193914158)

-- name: alert_turn_read
-- By which time, and by which book of rules, the engine turned last.
SELECT turned_ms, book FROM alert_turns

-- name: alert_turn_write
-- It turned.
INSERT INTO alert_turns (turned_ms, book) VALUES (%(now_ms)s, %(book)s)
ON CONFLICT (one) DO UPDATE SET turned_ms = excluded.turned_ms, book = excluded.book

-- name: incidents_wake_all
-- Every open incident is looked at now.
UPDATE incidents SET due_ms = %(now_ms)s WHERE state <> 'resolved'

-- name: incidents_wake_ruleless
-- Open incidents of rules that are not there or not switched on are looked at now.
UPDATE incidents SET due_ms = %(now_ms)s
WHERE state <> 'resolved' AND NOT rule = ANY(%(rules)s::text[])

-- name: incidents_wake
-- What a dark site or device kept quiet, or may keep quiet now, is looked at now.
UPDATE incidents SET due_ms = %(now_ms)s
WHERE state <> 'resolved' AND (inhibited = ANY(%(incidents)s::text[])
  OR (site = ANY(%(sites)s::text[]) AND incident <> ALL(%(incidents)s::text[])))

-- name: incidents_for_turn
-- Incidents that a decision is about: of these keys and members, due, dark, or of a storm.
SELECT incident, body, due_ms FROM incidents WHERE incident IN (
    SELECT incident FROM incidents WHERE state <> 'resolved' AND key = ANY(%(keys)s::text[])
    UNION ALL
    SELECT m.incident FROM unnest(%(rules)s::text[], %(subjects)s::text[]) AS s(rule, subject)
    JOIN incident_members m USING (rule, subject)
    UNION ALL
    (SELECT incident FROM incidents WHERE due_ms <= %(now_ms)s ORDER BY due_ms LIMIT %(limit)s)
    UNION ALL
    SELECT incident FROM incidents WHERE state <> 'resolved' AND rule = ANY(%(above)s::text[])
    UNION ALL
    SELECT incident FROM incidents WHERE state <> 'resolved' AND rule = ANY(%(rules)s::text[])
      AND changed_ms > %(recent_ms)s)
ORDER BY known_ms, incident

-- name: incidents_postpone
-- Incidents that this central cannot read are looked at again in an hour.
UPDATE incidents SET due_ms = %(now_ms)s + 3600000
WHERE incident = ANY(%(incidents)s::text[]) AND due_ms IS NOT NULL

-- name: alert_inbox_first
-- The oldest event that waits, if any does.
SELECT number FROM alert_inbox ORDER BY number LIMIT 1

-- name: alert_inbox_drop
-- An event is passed over for good, where nobody took it meanwhile.
DELETE FROM alert_inbox WHERE number = %(number)s RETURNING device, event

-- name: incidents_before
-- The newest incident that is over, of each of these keys.
SELECT i.body FROM unnest(%(keys)s::text[]) AS k(key)
CROSS JOIN LATERAL (SELECT body, state FROM incidents i WHERE i.key = k.key
                    ORDER BY known_ms DESC LIMIT 1) i
WHERE i.state = 'resolved'

-- name: incidents_next_due
-- When an incident, what is held, or who is on call is to be looked at next; whether events wait.
SELECT least((SELECT min(due_ms) FROM incidents WHERE due_ms IS NOT NULL),
             (SELECT min(until_ms) FROM alert_held),
             (SELECT min(due_ms) FROM alert_duties WHERE due_ms IS NOT NULL)), EXISTS (SELECT FROM alert_inbox)

-- name: incident_put
-- An incident as it is now, new or changed.
INSERT INTO incidents (incident, key, rule, severity, state, title, site, device, camera, opened_ms,
                       changed_ms, known_ms, resolved_ms, silenced, inhibited, late_only, due_ms,
                       version, body)
VALUES (%(incident)s, %(key)s, %(rule)s, %(severity)s, %(state)s, %(title)s, %(site)s, %(device)s,
        %(camera)s, %(opened_ms)s, %(changed_ms)s, %(known_ms)s, %(resolved_ms)s, %(silenced)s,
        %(inhibited)s, %(late_only)s, %(due_ms)s, %(version)s, %(body)s)
ON CONFLICT (incident) DO UPDATE SET severity = excluded.severity, state = excluded.state,
    title = excluded.title, site = excluded.site, device = excluded.device,
    camera = excluded.camera, changed_ms = excluded.changed_ms,
    resolved_ms = excluded.resolved_ms, silenced = excluded.silenced,
    inhibited = excluded.inhibited, late_only = excluded.late_only, due_ms = excluded.due_ms,
    version = excluded.version, body = excluded.body

-- name: incident_sites_put
-- Sites that an incident concerns.
INSERT INTO incident_sites (incident, site)
SELECT %(incident)s, unnest(%(sites)s::text[]) ON CONFLICT DO NOTHING

-- name: incident_members_put
-- What is in an open incident.
INSERT INTO incident_members (rule, subject, incident)
SELECT %(rule)s, unnest(%(subjects)s::text[]), %(incident)s ON CONFLICT DO NOTHING

-- name: incident_members_drop
-- An incident that is over has nothing in it any more.
DELETE FROM incident_members WHERE incident = %(incident)s

-- name: incident_history_add
-- A line of a timeline.
INSERT INTO incident_history (incident, at_ms, kind, actor, text, body)
VALUES (%(incident)s, %(at_ms)s, %(kind)s, %(actor)s, %(text)s, %(body)s)

-- name: incident_event_add
-- An event that belongs to an incident.
INSERT INTO incident_events (incident, device, event, at_ms, late)
VALUES (%(incident)s, %(device)s, %(event)s, %(at_ms)s, %(late)s) ON CONFLICT DO NOTHING

-- name: alert_held_put
-- Trouble that waits for the end of planned work.
INSERT INTO alert_held (rule, subject, silence, until_ms, body)
VALUES (%(rule)s, %(subject)s, %(silence)s, %(until_ms)s, %(body)s)
ON CONFLICT (rule, subject) DO UPDATE
SET silence = excluded.silence, until_ms = excluded.until_ms

-- name: alert_held_drop
-- It is well again, or an incident now.
DELETE FROM alert_held WHERE rule = %(rule)s AND subject = %(subject)s

-- name: alert_held_take
-- What outlasted planned work.
DELETE FROM alert_held WHERE (rule, subject) IN (
    SELECT rule, subject FROM alert_held WHERE until_ms <= %(now_ms)s
    ORDER BY until_ms LIMIT %(limit)s)
RETURNING body

-- name: alert_held_release
-- Planned work ended early, or was moved: what it holds is looked at now.
UPDATE alert_held SET until_ms = %(now_ms)s WHERE silence = %(silence)s

-- name: alert_gone_devices
-- Devices in open incidents that were revoked or removed.
SELECT DISTINCT split_part(m.subject, '|', 2), m.incident FROM incident_members m
LEFT JOIN devices d ON d.device = split_part(m.subject, '|', 2)
WHERE split_part(m.subject, '|', 2) <> '' AND (d.device IS NULL OR d.revoked_ms IS NOT NULL)
LIMIT %(limit)s

-- name: incidents_wake_these
-- These are looked at now.
UPDATE incidents SET due_ms = %(now_ms)s
WHERE state <> 'resolved' AND incident = ANY(%(incidents)s::text[])

-- name: alert_overrides_now
-- Overrides of schedules that are not over.
SELECT body FROM alert_overrides WHERE to_ms > %(now_ms)s ORDER BY override

-- name: alert_silences_now
-- Silences that are not over.
SELECT body FROM alert_silences WHERE to_ms > %(now_ms)s
  AND (ended_ms IS NULL OR ended_ms > %(now_ms)s) ORDER BY from_ms, silence

-- name: alert_silence_hid
-- Planned work kept something from becoming an incident.
UPDATE alert_silences SET hidden = hidden + %(more)s WHERE silence = %(silence)s

-- name: incident_hold
-- One incident, held.
SELECT body FROM incidents WHERE incident = %(incident)s FOR UPDATE

-- name: incident_open_of_key
-- True where an incident of this key is open.
SELECT EXISTS (SELECT FROM incidents WHERE key = %(key)s AND state <> 'resolved')

-- name: incident_members_taken
-- True where any of these is in another open incident.
SELECT EXISTS (SELECT FROM incident_members
               WHERE rule = %(rule)s AND subject = ANY(%(subjects)s::text[]))

-- name: incidents_expire
-- Incidents that were over long ago, with their timelines; what still waits to be sent keeps one.
DELETE FROM incidents i WHERE i.resolved_ms < %(before_ms)s
  AND NOT EXISTS (SELECT FROM deliveries d WHERE d.incident = i.incident AND d.due_ms IS NOT NULL)

-- name: silences_expire
-- Silences that were over long ago.
DELETE FROM alert_silences WHERE least(to_ms, coalesce(ended_ms, to_ms)) < %(before_ms)s

-- name: alert_inbox_expire
-- Events that no turn could take for days.
DELETE FROM alert_inbox WHERE received_ms < %(before_ms)s

-- name: meter_incidents
-- Incidents that are not over, by severity.
SELECT severity, count(*) FROM incidents WHERE state <> 'resolved' GROUP BY severity

-- name: meter_inbox
-- Events that no turn has looked at yet.
SELECT count(*) FROM alert_inbox

-- name: incidents_page
-- Incidents in scope, newest first, after a cursor.
SELECT i.body, coalesce(s.name, '') AS site_name,
       (SELECT count(*) FROM incident_sites t WHERE t.incident = i.incident) AS sites
FROM incidents i LEFT JOIN sites s ON s.site = i.site
WHERE (%(scope)s::text[] IS NULL OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident
        AND t.site = ANY(%(scope)s::text[])))
  AND (%(state)s = '' OR i.state = %(state)s
       OR (%(state)s = 'unresolved' AND i.state <> 'resolved'))
  AND (%(severity)s = '' OR i.severity = %(severity)s)
  AND (%(rule)s = '' OR i.rule = %(rule)s)
  AND (%(site)s = '' OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident AND t.site = %(site)s))
  AND (%(device)s = '' OR i.device = %(device)s)
  AND (%(quiet)s = '' OR (%(quiet)s = 'silenced' AND i.silenced <> '')
       OR (%(quiet)s = 'inhibited' AND i.inhibited <> '')
       OR (%(quiet)s = 'no' AND i.silenced = '' AND i.inhibited = ''))
  AND (%(with_late)s::boolean OR NOT i.late_only)
  AND i.opened_ms >= %(from_ms)s AND i.opened_ms < %(to_ms)s
  AND (i.opened_ms, i.incident) < (%(cursor_ms)s, %(cursor_incident)s)
ORDER BY i.opened_ms DESC, i.incident DESC LIMIT %(limit)s

-- name: incident_look
-- One incident in scope.
SELECT i.body, coalesce(s.name, '') AS site_name,
       (SELECT count(*) FROM incident_sites t WHERE t.incident = i.incident) AS sites
FROM incidents i LEFT JOIN sites s ON s.site = i.site
WHERE i.incident = %(incident)s AND (%(scope)s::text[] IS NULL OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident
        AND t.site = ANY(%(scope)s::text[])))

-- name: incident_sites_of
-- Every site that an incident concerns.
SELECT site FROM incident_sites WHERE incident = %(incident)s ORDER BY site

-- name: incident_history_page
-- A timeline, newest first, below a number; lines about sites out of scope are left out.
SELECT number, body FROM incident_history
WHERE incident = %(incident)s AND number < %(below)s
  AND (%(scope)s::text[] IS NULL
       OR coalesce(convert_from(body, 'UTF8')::jsonb #>> '{subject,site}', '') = ''
       OR convert_from(body, 'UTF8')::jsonb #>> '{subject,site}' = ANY(%(scope)s::text[]))
ORDER BY number DESC LIMIT %(limit)s

-- name: incident_events_page
-- Events of an incident in scope, newest first, after a cursor.
SELECT e.device, e.event, e.site, e.camera, e.at_ms, e.received_ms, e.late, e.body,
       v.status AS evidence_status, v.stays AS evidence_stays, v.body AS evidence_body,
       coalesce(c.state = 'here', false) AS clip_here,
       coalesce((SELECT f.name FROM clip_files f
           WHERE c.state = 'here' AND f.device = e.device AND f.evidence = e.evidence
           AND f.name = CASE c.form WHEN 'blurred' THEN 'blurred.jpg' ELSE 'poster.jpg' END),
           '') AS poster
FROM incident_events ie
     JOIN events e ON e.device = ie.device AND e.event = ie.event
     LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence AND e.evidence <> ''
     LEFT JOIN clips c ON c.device = e.device AND c.evidence = e.evidence AND e.evidence <> ''
WHERE ie.incident = %(incident)s
  AND (%(scope)s::text[] IS NULL OR e.site = ANY(%(scope)s::text[]))
  AND (e.at_ms, e.event, e.device) < (%(cursor_ms)s, %(cursor_event)s, %(cursor_device)s)
ORDER BY e.at_ms DESC, e.event DESC, e.device DESC LIMIT %(limit)s

-- name: incident_events_count
-- How many events an incident has.
SELECT count(*) FROM incident_events WHERE incident = %(incident)s

-- name: incidents_tally
-- How many incidents that are not over are how, in scope.
SELECT i.state, i.severity, i.silenced <> '' AS silenced, i.inhibited <> '' AS inhibited, count(*)
FROM incidents i
WHERE i.state <> 'resolved' AND (%(scope)s::text[] IS NULL OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident
        AND t.site = ANY(%(scope)s::text[])))
GROUP BY 1, 2, 3, 4

-- name: incidents_by_rule
-- Of each rule, in scope: incidents that are open, how many of the newest began since a moment, the
-- last of them, and whether there were more than were counted.
WITH newest AS (
    SELECT i.rule, i.opened_ms FROM incidents i
    WHERE i.opened_ms >= %(since_ms)s AND (%(scope)s::text[] IS NULL OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident
        AND t.site = ANY(%(scope)s::text[])))
    ORDER BY i.opened_ms DESC, i.incident DESC LIMIT %(limit)s),
begun AS (
    SELECT rule, count(*) AS begun, max(opened_ms) AS last_ms FROM newest GROUP BY rule),
standing AS (
    SELECT i.rule, count(*) AS open FROM incidents i
    WHERE i.state <> 'resolved' AND (%(scope)s::text[] IS NULL OR EXISTS (
        SELECT FROM incident_sites t WHERE t.incident = i.incident
        AND t.site = ANY(%(scope)s::text[])))
    GROUP BY i.rule)
SELECT rule, coalesce(s.open, 0), coalesce(b.begun, 0), b.last_ms,
       (SELECT count(*) FROM newest) = %(limit)s
FROM begun b FULL JOIN standing s USING (rule)

-- name: incidents_unresolved
-- Incidents that are not over, for what a silence would hide.
SELECT body FROM incidents WHERE state <> 'resolved' ORDER BY opened_ms DESC LIMIT %(limit)s

-- name: alert_silence_put
-- A silence, new or changed.
INSERT INTO alert_silences (silence, from_ms, to_ms, ended_ms, body)
VALUES (%(silence)s, %(from_ms)s, %(to_ms)s, %(ended_ms)s, %(body)s)
ON CONFLICT (silence) DO UPDATE SET from_ms = excluded.from_ms, to_ms = excluded.to_ms,
    ended_ms = excluded.ended_ms, body = excluded.body

-- name: alert_silence_hold
-- One silence, held.
SELECT body FROM alert_silences WHERE silence = %(silence)s FOR UPDATE

-- name: alert_silences_page
-- Silences, those that end last first, after a cursor.
SELECT body, hidden FROM alert_silences
WHERE (%(state)s = ''
    OR (%(state)s = 'over' AND least(to_ms, coalesce(ended_ms, to_ms)) <= %(now_ms)s)
    OR (%(state)s = 'now' AND from_ms <= %(now_ms)s
        AND least(to_ms, coalesce(ended_ms, to_ms)) > %(now_ms)s)
    OR (%(state)s = 'to_come' AND from_ms > %(now_ms)s
        AND least(to_ms, coalesce(ended_ms, to_ms)) > %(now_ms)s))
  AND (to_ms, silence) < (%(cursor_ms)s, %(cursor_silence)s)
ORDER BY to_ms DESC, silence DESC LIMIT %(limit)s

-- name: alert_silences_count
-- How many silences are not over.
SELECT count(*) FROM alert_silences WHERE to_ms > %(now_ms)s
  AND (ended_ms IS NULL OR ended_ms > %(now_ms)s)
