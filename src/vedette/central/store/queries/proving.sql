-- Proof on notices: links by which people take incidents on, clips that are asked for, hand-overs.

-- name: take_link_of
-- What a link names, and whether the person whom it was sent to is still somebody who is told.
SELECT d.delivery, d.incident, d.person, d.kind, d.made_ms, d.body,
       CASE WHEN u.username IS NOT NULL THEN u.disabled_ms IS NULL
            ELSE coalesce((SELECT a.body IS NOT NULL FROM alert_documents a
                           WHERE a.kind = 'contacts' AND a.name = d.person
                           ORDER BY a.version DESC LIMIT 1), false) END AS is_there
FROM deliveries d LEFT JOIN users u ON u.username = d.person
WHERE d.delivery = %(delivery)s AND d.made_ms = %(made_ms)s AND d.person <> '' AND d.media = ''

-- name: take_incident
-- An incident as it is now, without holding it.
SELECT body FROM incidents WHERE incident = %(incident)s

-- name: clip_ask_put
-- A clip is to be asked for; one that is already is not another time.
INSERT INTO alert_asks (device, evidence, incident, event, site, camera, made_ms, due_ms)
VALUES (%(device)s, %(evidence)s, %(incident)s, %(event)s, %(site)s, %(camera)s, %(now_ms)s,
        %(due_ms)s)
ON CONFLICT (device, evidence) DO NOTHING

-- name: clip_asks_take
-- What is due, for this worker: should it die, it is due again after a while.
UPDATE alert_asks SET due_ms = %(again_ms)s
WHERE (device, evidence) IN (
    SELECT device, evidence FROM alert_asks WHERE due_ms <= %(now_ms)s
    ORDER BY due_ms LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING device, evidence, incident, event, site, camera, made_ms

-- name: clip_ask_asked
-- The device is asked.
UPDATE alert_asks SET due_ms = NULL
WHERE device = %(device)s AND evidence = %(evidence)s AND due_ms IS NOT NULL

-- name: clip_ask_drop
-- It is not asked.
DELETE FROM alert_asks WHERE device = %(device)s AND evidence = %(evidence)s

-- name: clip_ask_waits
-- True while a device is to be asked for a clip, or was and has not answered.
SELECT true FROM alert_asks WHERE device = %(device)s AND evidence = %(evidence)s

-- name: clip_asks_settled
-- What was asked for and came, or will not: taken out.
DELETE FROM alert_asks a
USING (SELECT a.device, a.evidence, coalesce(c.state, 'dropped') AS state,
              coalesce(c.said, '') AS said
       FROM alert_asks a LEFT JOIN clips c USING (device, evidence)
       WHERE a.due_ms IS NULL
         AND (c.state IS NULL OR c.state NOT IN ('asked', 'sending') OR c.expires_ms <= %(now_ms)s)
       ORDER BY a.made_ms LIMIT %(limit)s FOR UPDATE OF a SKIP LOCKED) s
WHERE a.device = s.device AND a.evidence = s.evidence
RETURNING a.device, a.evidence, a.incident, a.event, s.state, s.said

-- name: duties_sync
-- Schedules that tell at hand-over; each is looked at now.
INSERT INTO alert_duties (schedule, person, since_ms, due_ms)
SELECT s, '', %(never_ms)s, %(now_ms)s FROM unnest(%(schedules)s::text[]) AS s
ON CONFLICT (schedule) DO UPDATE SET due_ms = excluded.due_ms

-- name: duties_drop_others
-- Schedules that are gone or tell nobody.
DELETE FROM alert_duties WHERE NOT schedule = ANY(%(schedules)s::text[])

-- name: duties_wake
-- Somebody takes over, or does no more: looked at now; NULL: every schedule.
UPDATE alert_duties SET due_ms = 0 WHERE %(schedule)s::text IS NULL OR schedule = %(schedule)s

-- name: duties_due
-- Schedules that may have changed hands.
SELECT schedule, person, since_ms, due_ms, said FROM alert_duties
WHERE due_ms <= %(now_ms)s ORDER BY due_ms, schedule LIMIT %(limit)s

-- name: duty_put
-- Who has a schedule, and when it is looked at next.
UPDATE alert_duties SET person = %(person)s, since_ms = %(since_ms)s, due_ms = %(due_ms)s,
       said = %(said)s
WHERE schedule = %(schedule)s

-- name: duty_drop
-- A schedule that is gone.
DELETE FROM alert_duties WHERE schedule = %(schedule)s

-- name: handover_of
-- What is kept for whoever comes on call next.
SELECT note, made_by, made_ms FROM alert_handovers WHERE schedule = %(schedule)s

-- name: handover_put
-- It is kept; the newest stands.
INSERT INTO alert_handovers (schedule, note, made_by, made_ms)
VALUES (%(schedule)s, %(note)s, %(made_by)s, %(made_ms)s)
ON CONFLICT (schedule) DO UPDATE
SET note = excluded.note, made_by = excluded.made_by, made_ms = excluded.made_ms

-- name: handover_drop
-- It was told, or taken back.
DELETE FROM alert_handovers WHERE schedule = %(schedule)s

-- name: incidents_open_of
-- The worst that is open of some rules and tells people, and how many there are.
SELECT body, count(*) OVER () FROM incidents
WHERE state <> 'resolved' AND rule = ANY(%(rules)s::text[]) AND NOT late_only AND silenced = ''
  AND inhibited = ''
ORDER BY severity = 'critical' DESC, severity = 'warning' DESC, opened_ms LIMIT %(limit)s

-- name: duty_said
-- What telling whoever came on call last came to.
SELECT said FROM alert_duties WHERE schedule = %(schedule)s
