-- Rollouts: reading what a decision needs, and writing what it says. Whoever writes holds the row of
-- the rollout (`rollout_hold`), so a second worker or a restart repeats nothing.

-- name: rollout_add
-- A rollout that nobody has begun.
INSERT INTO rollouts (rollout, kind, slot, digest, plan, sites, note, state, since_ms, progress,
                      made_by, made_ms, due_ms)
VALUES (%(rollout)s, %(kind)s, %(slot)s, %(digest)s, %(plan)s, %(sites)s, %(note)s, %(state)s,
        %(now_ms)s, %(progress)s, %(actor)s, %(now_ms)s, %(now_ms)s)
ON CONFLICT (rollout) DO NOTHING

-- name: rollout_get
-- One rollout.
SELECT * FROM rollouts WHERE rollout = %(rollout)s

-- name: rollout_hold
-- One rollout, held until the transaction ends.
SELECT * FROM rollouts WHERE rollout = %(rollout)s FOR NO KEY UPDATE

-- name: rollout_try
-- One rollout, held; nothing where another worker has it.
SELECT * FROM rollouts WHERE rollout = %(rollout)s FOR NO KEY UPDATE SKIP LOCKED

-- name: rollouts_due
-- Rollouts about which something is to be decided now: it is time, or their approval has come.
SELECT rollout FROM rollouts r
WHERE due_ms <= %(now_ms)s OR (due_ms IS NOT NULL AND approval IS NULL AND EXISTS (
    SELECT FROM release_files f WHERE f.path = 'approvals/' || r.rollout || '.json'))
ORDER BY made_ms, rollout

-- name: rollouts_page
-- Rollouts of sites in scope, newest first.
SELECT * FROM rollouts
WHERE (%(scope)s::text[] IS NULL OR sites <@ %(scope)s::text[])
  AND (%(state)s = '' OR state = %(state)s)
  AND (made_ms, rollout) < (%(cursor_ms)s, %(cursor_rollout)s)
ORDER BY made_ms DESC, rollout DESC LIMIT %(limit)s

-- name: rollout_move
-- Where a rollout is from now on.
UPDATE rollouts SET progress = %(progress)s, state = %(state)s, stage = %(stage)s,
    since_ms = %(since_ms)s, reason = %(reason)s, due_ms = %(due_ms)s,
    version = version + CASE WHEN progress = %(progress)s THEN 0 ELSE 1 END,
    started_ms = CASE WHEN %(started)s THEN coalesce(started_ms, %(now_ms)s) ELSE started_ms END
WHERE rollout = %(rollout)s AND version = %(version)s

-- name: rollout_change
-- Another plan, or other orders, of a rollout that is held.
UPDATE rollouts SET plan = %(plan)s, sites = %(sites)s, progress = %(progress)s,
    version = version + 1, due_ms = 0
WHERE rollout = %(rollout)s

-- name: rollout_approve
-- Somebody at central approved.
UPDATE rollouts SET approved_by = array_append(approved_by, %(actor)s),
    approved_ms = %(now_ms)s, version = version + 1, due_ms = 0
WHERE rollout = %(rollout)s AND NOT (%(actor)s = ANY (approved_by))

-- name: rollout_approval_set
-- What the offline keys approved, as it was last read; ways back that lacked it are signed anew.
WITH changed AS (
    UPDATE rollouts SET approval = %(approval)s WHERE rollout = %(rollout)s
      AND approval IS DISTINCT FROM %(approval)s
    RETURNING rollout, digest)
INSERT INTO assigned_dirty
SELECT r.device FROM changed c JOIN rollout_devices r USING (rollout)
WHERE r.state = 'skipped' AND r.digest NOT IN ('', c.digest)
ORDER BY r.device ON CONFLICT DO NOTHING

-- name: rollouts_look_again
-- Everything that is not over is decided about at once: what was approved or measured is another.
-- Who has one at the moment looks at what is new anyway, at the latest in its next turn.
WITH due AS (
    UPDATE rollouts SET due_ms = 0 WHERE rollout IN (
        SELECT rollout FROM rollouts WHERE due_ms > 0 FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING rollout)
SELECT pg_notify('vedette_rollouts', rollout) FROM due

-- name: rollouts_notify
-- Every central on this database looks at once, when this transaction commits.
SELECT pg_notify('vedette_rollouts', %(rollout)s::text)

-- name: rollout_superseded
-- Which rollout took this one's place.
UPDATE rollouts SET superseded_by = %(by)s WHERE rollout = %(rollout)s

-- name: rollouts_before
-- Finished rollouts of the same slot and of sites that this one has too.
SELECT rollout FROM rollouts WHERE rollout <> %(rollout)s AND state = 'done' AND kind = %(kind)s
  AND slot = %(slot)s AND made_ms <= %(made_ms)s
  AND (sites && %(sites)s::text[] OR sites = '{*}' OR %(sites)s::text[] = '{*}') ORDER BY rollout

-- name: rollout_note
-- One transition of a rollout itself.
INSERT INTO rollout_history (rollout, at_ms, actor, was, state, stage, reason)
VALUES (%(rollout)s, %(now_ms)s, %(actor)s, %(was)s, %(state)s, %(stage)s, %(reason)s)

-- name: rollout_devices_join
-- Devices that have the slot and are at the sites, where they have no row yet.
INSERT INTO rollout_devices (rollout, device)
SELECT %(rollout)s, s.device FROM device_slots s JOIN devices d USING (device)
WHERE s.slot = %(slot)s AND s.kind = %(kind)s AND d.revoked_ms IS NULL
  AND (%(sites)s::text[] = '{*}' OR d.site = ANY (%(sites)s::text[]))
  AND NOT EXISTS (SELECT FROM rollout_devices r
                  WHERE r.rollout = %(rollout)s AND r.device = s.device)
ON CONFLICT DO NOTHING

-- name: rollout_devices_settle
-- What newest heartbeats say of devices' attempts, for those whose own message was lost or is late.
WITH held AS MATERIALIZED (
    SELECT r.device, r.state AS was, s.state, s.problem
    FROM rollout_devices r JOIN device_slots s USING (device)
    WHERE r.rollout = %(rollout)s AND s.slot = %(slot)s
      AND s.rollout = r.rollout AND s.attempt = r.attempt AND s.digest = r.digest
      AND r.state IS NOT NULL AND s.state NOT IN ('', 'lost', 'skipped')
      AND update_rank(r.state) < update_rank(s.state)
      AND (r.state <> 'lost' OR s.changed_ms > r.since_ms)
    ORDER BY r.device FOR UPDATE OF r),
moved AS (
    UPDATE rollout_devices r SET
        state = h.state, since_ms = %(now_ms)s, detail = h.problem,
        active_ms = CASE WHEN h.state IN ('activating', 'probation', 'confirmed')
                         THEN coalesce(r.active_ms, %(now_ms)s) ELSE r.active_ms END
    FROM held h WHERE r.rollout = %(rollout)s AND r.device = h.device
    RETURNING r.device, h.was, r.state, r.stage, r.attempt, r.detail)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT %(rollout)s, device, %(now_ms)s, 'device', was, state, stage, attempt, detail FROM moved

-- name: rollout_facts
-- Every device that could take part, as it is known now.
SELECT r.device, d.site, p.time_zone, d.hardware, coalesce(i.models, ''),
       coalesce(r.before, CASE WHEN r.attempt = 0 THEN n.artefact END), r.digest, r.is_shadow,
       r.assigned_ms, r.attempt, r.state, r.since_ms, r.stage, coalesce(s.running, ''),
       d.health_at_ms, r.confirmed_ms, r.covered_h, d.last_contact_ms,
       CASE WHEN s.rollout = r.rollout THEN s.attempt ELSE 0 END, d.assignment_version,
       coalesce(c.assignment_version, 0), coalesce(o.rollout, ''), r.detail, r.active_ms,
       coalesce(r.light, '')
FROM rollout_devices r JOIN devices d USING (device) JOIN sites p USING (site)
LEFT JOIN device_slots s ON s.device = r.device AND s.slot = %(slot)s
LEFT JOIN device_counters c ON c.device = r.device
LEFT JOIN installed n ON n.device = r.device AND n.slot = %(slot)s
LEFT JOIN (SELECT a.device, a.rollout FROM assigned a JOIN rollouts u USING (rollout)
           WHERE a.slot = %(slot)s AND a.rollout <> %(rollout)s
             AND u.state <> ALL (%(over)s::text[])) o ON o.device = r.device
LEFT JOIN (SELECT device, string_agg(DISTINCT model, ' ' ORDER BY model) AS models
           FROM camera_inventory GROUP BY device) i ON i.device = r.device
WHERE r.rollout = %(rollout)s AND d.revoked_ms IS NULL
  AND (%(sites)s::text[] = '{*}' OR d.site = ANY (%(sites)s::text[]))
ORDER BY r.device

-- name: light_due
-- Devices of a rollout of which nobody has looked in what light they see.
SELECT device FROM rollout_devices WHERE rollout = %(rollout)s AND light IS NULL
ORDER BY device LIMIT %(limit)s

-- name: light_bodies
-- Some merged hours of every camera of some devices.
SELECT device, start_ms, body FROM rollup_hour
WHERE device = ANY (%(devices)s) AND start_ms = ANY (%(hours)s)

-- name: light_put
-- In what light they see.
UPDATE rollout_devices r SET light = n.light
FROM unnest(%(device)s::text[], %(light)s::text[]) AS n (device, light)
WHERE r.rollout = %(rollout)s AND r.device = n.device

-- name: rollout_assign
-- What devices are assigned from now on, where no decision gave them this attempt before. One that
-- is sent back has from now on what it had: the rollout may be over before it says so, and nobody
-- is ever to be sent back to what was taken from it.
WITH wanted AS (
    SELECT * FROM unnest(%(device)s::text[], %(item)s::text[], %(attempt)s::integer[],
                         %(digest)s::text[], %(stage)s::integer[], %(is_shadow)s::boolean[],
                         %(reason)s::text[])
                  AS wanted (device, item, attempt, digest, stage, is_shadow, reason)),
held AS MATERIALIZED (
    SELECT w.*, r.state AS was FROM wanted w JOIN rollout_devices r USING (device)
    WHERE r.rollout = %(rollout)s AND r.attempt < w.attempt ORDER BY r.device FOR UPDATE OF r),
moved AS (
    UPDATE rollout_devices r SET
        state = 'assigned', attempt = w.attempt, digest = w.digest,
        stage = w.stage, since_ms = %(now_ms)s, assigned_ms = %(now_ms)s,
        active_ms = NULL, confirmed_ms = NULL, covered_h = 0, covered_ms = NULL,
        is_shadow = w.is_shadow, detail = w.reason,
        before = coalesce(r.before, CASE WHEN r.attempt = 0 THEN
            (SELECT n.artefact FROM installed n WHERE n.device = r.device AND n.slot = %(slot)s)
            END)
    FROM held w WHERE r.rollout = %(rollout)s AND r.device = w.device
    RETURNING r.device, w.item, w.digest, r.is_shadow, coalesce(w.was, '') AS was, r.stage,
              r.attempt, w.reason),
had AS (
    INSERT INTO installed (device, slot, artefact)
    SELECT m.device, %(slot)s, convert_to((m.item::jsonb -> 'artefact')::text, 'UTF8')
    FROM moved m JOIN rollouts u ON u.rollout = %(rollout)s
    WHERE m.digest <> u.digest AND NOT m.is_shadow
    ON CONFLICT (device, slot) DO UPDATE SET artefact = excluded.artefact),
put AS (
    INSERT INTO assigned (device, slot, rollout, item)
    SELECT device, %(slot)s, %(rollout)s, convert_to(item, 'UTF8') FROM moved
    ON CONFLICT (device, slot) DO UPDATE SET rollout = excluded.rollout, item = excluded.item),
dirty AS (
    INSERT INTO assigned_dirty SELECT device FROM moved ON CONFLICT DO NOTHING)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT %(rollout)s, device, %(now_ms)s, 'central', was, 'assigned', stage, attempt, reason FROM moved

-- name: rollout_unassign
-- What devices are not asked for any more; they have their place in a stage or not, as decided.
WITH held AS MATERIALIZED (
    SELECT r.device, r.state AS was, w.stage, w.reason
    FROM unnest(%(device)s::text[], %(stage)s::integer[], %(reason)s::text[])
         AS w (device, stage, reason) JOIN rollout_devices r USING (device)
    WHERE r.rollout = %(rollout)s AND (r.digest <> '' OR r.stage IS DISTINCT FROM w.stage)
    ORDER BY r.device FOR UPDATE OF r),
moved AS (
    UPDATE rollout_devices r SET
        digest = '', is_shadow = false, assigned_ms = NULL, confirmed_ms = NULL, stage = w.stage,
        state = CASE WHEN r.state = 'skipped' THEN r.state END,
        since_ms = %(now_ms)s, detail = w.reason
    FROM held w WHERE r.rollout = %(rollout)s AND r.device = w.device
    RETURNING r.device, coalesce(w.was, '') AS was, coalesce(r.state, '') AS state, r.stage,
              r.attempt, w.reason),
gone AS (
    DELETE FROM assigned a USING moved m
    WHERE a.device = m.device AND a.slot = %(slot)s AND a.rollout = %(rollout)s),
dirty AS (
    INSERT INTO assigned_dirty SELECT device FROM moved ON CONFLICT DO NOTHING)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT %(rollout)s, device, %(now_ms)s, 'central', was, state, stage, attempt, reason FROM moved

-- name: rollout_mark
-- Central's word on devices. One that is confirmed has from now on what it was assigned.
WITH held AS MATERIALIZED (
    SELECT r.device, r.state AS was, w.state, w.reason
    FROM unnest(%(device)s::text[], %(state)s::text[], %(reason)s::text[])
         AS w (device, state, reason)
    JOIN rollout_devices r USING (device)
    WHERE r.rollout = %(rollout)s
      AND (r.state IS DISTINCT FROM w.state OR (w.state = 'confirmed' AND r.confirmed_ms IS NULL))
    ORDER BY r.device FOR UPDATE OF r),
moved AS (
    UPDATE rollout_devices r SET
        state = w.state, detail = w.reason,
        since_ms = %(now_ms)s, covered_h = 0, covered_ms = NULL,
        confirmed_ms = CASE WHEN w.state = 'confirmed' THEN %(now_ms)s END
    FROM held w WHERE r.rollout = %(rollout)s AND r.device = w.device
    RETURNING r.device, coalesce(w.was, '') AS was, coalesce(r.state, '') AS state, r.stage,
              r.attempt, w.reason),
known AS (
    INSERT INTO installed (device, slot, artefact)
    SELECT a.device, a.slot,
           convert_to((convert_from(a.item, 'UTF8')::jsonb -> 'artefact')::text, 'UTF8')
    FROM assigned a JOIN moved m USING (device)
    WHERE a.slot = %(slot)s AND a.rollout = %(rollout)s AND m.state = 'confirmed'
    ON CONFLICT (device, slot) DO UPDATE SET artefact = excluded.artefact)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT %(rollout)s, device, %(now_ms)s, 'central', was, state, stage, attempt, reason FROM moved

-- name: rollout_known
-- Devices of a rollout that is over now, and that said they are confirmed: nobody asks for their
-- heartbeat any more, so they have from now on what they were assigned.
INSERT INTO installed (device, slot, artefact)
SELECT a.device, a.slot, convert_to((convert_from(a.item, 'UTF8')::jsonb -> 'artefact')::text, 'UTF8')
FROM assigned a JOIN rollout_devices r USING (rollout, device)
WHERE a.rollout = %(rollout)s AND a.slot = %(slot)s
  AND r.state = 'confirmed' AND r.confirmed_ms IS NULL AND NOT r.is_shadow
ORDER BY a.device
ON CONFLICT (device, slot) DO UPDATE SET artefact = excluded.artefact

-- name: rollout_gate_put
-- What a gate says, and the course of what it measures.
INSERT INTO rollout_gates AS g (rollout, stage, gate, verdict, at_ms, looked_ms, result, course)
VALUES (%(rollout)s, %(stage)s, %(gate)s, %(verdict)s, %(now_ms)s, %(now_ms)s, %(result)s,
        %(course)s)
ON CONFLICT (rollout, stage, gate) DO UPDATE SET
    at_ms = CASE WHEN g.verdict = excluded.verdict THEN g.at_ms ELSE excluded.at_ms END,
    verdict = excluded.verdict, looked_ms = excluded.looked_ms, result = excluded.result,
    course = excluded.course
WHERE (g.verdict, g.result, g.course) IS DISTINCT FROM
      (excluded.verdict, excluded.result, excluded.course)

-- name: rollout_gates_all
-- What every gate of a rollout said last.
SELECT * FROM rollout_gates WHERE rollout = %(rollout)s ORDER BY stage, gate

-- name: rollout_counts
-- How many devices of rollouts are in which state; back on what was before is `reverted`.
SELECT r.rollout, CASE WHEN r.state = 'confirmed' AND r.digest NOT IN ('', u.digest) THEN 'reverted'
                       WHEN r.state = 'confirmed' AND r.confirmed_ms IS NULL THEN 'probation'
                       ELSE coalesce(r.state, '') END, count(*)
FROM rollout_devices r JOIN devices d USING (device) JOIN rollouts u USING (rollout)
WHERE r.rollout = ANY (%(rollouts)s) AND d.revoked_ms IS NULL GROUP BY 1, 2

-- name: rollout_saved
-- How many devices of a rollout took a difference, and what they did not have to download.
SELECT count(*), coalesce(sum(saved_bytes), 0)::bigint FROM rollout_devices
WHERE rollout = %(rollout)s AND saved_bytes > 0

-- name: rollout_stage_counts
-- How many devices of each stage of rollouts are in which state, and how far their hours are.
SELECT r.rollout, r.stage, count(*),
       count(*) FILTER (WHERE r.confirmed_ms IS NOT NULL
                           OR r.state IN ('reverted', 'lost', 'skipped')),
       min(r.covered_h) FILTER (WHERE r.confirmed_ms IS NOT NULL),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY r.covered_h)
           FILTER (WHERE r.confirmed_ms IS NOT NULL),
       array_agg(r.covered_h) FILTER (WHERE r.confirmed_ms IS NOT NULL)
FROM rollout_devices r
WHERE r.rollout = ANY (%(rollouts)s) AND r.stage IS NOT NULL GROUP BY r.rollout, r.stage

-- name: rollout_stage_times
-- When stages of rollouts were entered first.
SELECT rollout, stage, min(at_ms) FROM rollout_history
WHERE rollout = ANY (%(rollouts)s) AND device = '' AND stage IS NOT NULL GROUP BY rollout, stage

-- name: rollout_devices_page
-- Devices of a rollout by name, each as it is told: back on what was before is `reverted`, with what
-- it said when it went back by itself, and why the choice took it into its stage. What a device says
-- of another rollout of the slot (problem, progress) is told there and not here.
SELECT r.device, d.site, p.name AS site_name, d.hardware, t.state, r.stage, r.attempt,
       CASE WHEN t.state = 'reverted' THEN coalesce((
           SELECT h.reason FROM rollout_history h
           WHERE h.rollout = r.rollout AND h.device = r.device AND h.state = 'reverted'
           ORDER BY h.number DESC LIMIT 1), '') ELSE '' END AS failed,
       coalesce(s.running, '') AS running, coalesce(s.previous, '') AS previous, r.since_ms,
       d.last_contact_ms, p.time_zone, r.covered_h, r.confirmed_ms, r.detail,
       coalesce(o.problem, '') AS problem, coalesce(o.bytes_done, 0) AS bytes_done,
       coalesce(o.bytes, 0) AS bytes, r.saved_bytes, r.digest, coalesce(r.light, '') AS light,
       CASE WHEN r.stage IS NULL THEN '' ELSE coalesce((
           SELECT h.reason FROM rollout_history h
           WHERE h.rollout = r.rollout AND h.device = r.device AND h.state = 'assigned'
             AND h.stage = r.stage ORDER BY h.number LIMIT 1), '') END AS chosen
FROM rollout_devices r JOIN devices d USING (device) JOIN sites p USING (site)
JOIN rollouts u USING (rollout)
CROSS JOIN LATERAL (SELECT CASE
    WHEN r.state = 'confirmed' AND r.digest NOT IN ('', u.digest) THEN 'reverted'
    WHEN r.state = 'confirmed' AND r.confirmed_ms IS NULL THEN 'probation'
    ELSE r.state END AS state) t
LEFT JOIN device_slots s ON s.device = r.device AND s.slot = %(slot)s
LEFT JOIN device_slots o ON o.device = s.device AND o.slot = s.slot AND o.rollout = r.rollout
WHERE r.rollout = %(rollout)s AND d.revoked_ms IS NULL AND r.device > %(after)s
  AND (%(sites)s::text[] = '{*}' OR d.site = ANY (%(sites)s::text[]))
  AND (%(state)s = '' OR coalesce(t.state, 'none') = %(state)s)
  AND (%(stages)s::integer[] IS NULL OR r.stage = ANY (%(stages)s::integer[]))
ORDER BY r.device LIMIT %(limit)s

-- name: rollout_history_page
-- What happened to a rollout and, where asked for, to its devices, newest first.
SELECT number, device, at_ms, actor, was, state, stage, attempt, reason FROM rollout_history
WHERE rollout = %(rollout)s AND number < %(below)s
  AND (%(device)s::text IS NULL OR device = %(device)s)
ORDER BY number DESC LIMIT %(limit)s

-- name: assigned_take
-- Some devices whose assignment has to be signed, held until it is.
DELETE FROM assigned_dirty WHERE device IN (
    SELECT device FROM assigned_dirty ORDER BY device LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING device

-- name: assigned_hold
-- Those devices, held, with the versions that were signed and that they report.
SELECT d.device, d.site, d.assignment_version, coalesce(c.assignment_version, 0),
       d.assignment IS NOT NULL
FROM devices d LEFT JOIN device_counters c USING (device)
WHERE d.device = ANY (%(devices)s) AND d.revoked_ms IS NULL ORDER BY d.device
FOR NO KEY UPDATE OF d

-- name: assigned_items
-- All that is assigned to those devices.
SELECT device, slot, rollout, item FROM assigned WHERE device = ANY (%(devices)s)
ORDER BY device, slot

-- name: assignment_set
-- Newly signed assignments.
UPDATE devices d SET assignment = convert_to(n.assignment, 'UTF8'), assignment_version = n.version
FROM unnest(%(device)s::text[], %(assignment)s::text[], %(version)s::bigint[])
     AS n (device, assignment, version)
WHERE d.device = n.device

-- name: approvals_of
-- What the offline keys approved for rollouts.
SELECT rollout, approval, approved_by, made_by FROM rollouts WHERE rollout = ANY (%(rollouts)s)

-- name: assigned_refused
-- Devices whose item may not be signed any more, and was not taken up.
WITH held AS MATERIALIZED (
    SELECT r.rollout, r.device, r.state AS was, w.reason
    FROM unnest(%(device)s::text[], %(rollout)s::text[], %(reason)s::text[])
         AS w (device, rollout, reason)
    JOIN rollout_devices r USING (rollout, device)
    WHERE update_rank(r.state) < update_rank('activating') AND r.state IS NOT NULL
    ORDER BY r.device FOR UPDATE OF r),
moved AS (
    UPDATE rollout_devices r SET state = 'skipped', since_ms = %(now_ms)s, detail = w.reason
    FROM held w WHERE r.rollout = w.rollout AND r.device = w.device
    RETURNING r.rollout, r.device, coalesce(w.was, '') AS was, r.stage, r.attempt, w.reason)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT rollout, device, %(now_ms)s, 'central', was, 'skipped', stage, attempt, reason FROM moved

-- name: bad_hours_of_rollout
-- Bad events by hour of the devices that a rollout took in or could.
SELECT b.device, b.hour_ms, b.kind, b.count FROM device_bad_hours b
JOIN rollout_devices r ON r.rollout = %(rollout)s AND r.device = b.device
WHERE b.hour_ms >= %(from_ms)s

-- name: rollout_candidates
-- Every device that has a slot, at some sites: what a plan would be about.
SELECT d.device, d.site, p.time_zone, d.hardware, coalesce(i.models, ''), s.running,
       d.last_contact_ms, n.artefact
FROM device_slots s JOIN devices d USING (device) JOIN sites p USING (site)
LEFT JOIN installed n ON n.device = d.device AND n.slot = s.slot
LEFT JOIN (SELECT device, string_agg(DISTINCT model, ' ' ORDER BY model) AS models
           FROM camera_inventory GROUP BY device) i ON i.device = d.device
WHERE s.slot = %(slot)s AND s.kind = %(kind)s AND d.revoked_ms IS NULL
  AND (%(sites)s::text[] = '{*}' OR d.site = ANY (%(sites)s::text[]))
ORDER BY d.device

-- name: hours_due
-- Devices of a rollout whose hours are known further than they were added up, those that wait
-- longest first.
SELECT r.device, t.through_ms, r.gathered_ms, r.since_from_ms, r.since_h, r.before_h, r.covered_h,
       r.covered_ms, r.confirmed_ms, r.active_ms, r.digest = %(digest)s AND NOT r.is_shadow
FROM rollout_devices r JOIN coverage_through t USING (device)
WHERE r.rollout = %(rollout)s
  AND (r.since_from_ms IS DISTINCT FROM greatest(%(stage_ms)s,
           CASE WHEN r.digest = %(digest)s AND NOT r.is_shadow THEN ceil_hour(r.active_ms) END)
       OR t.through_ms > r.gathered_ms
       OR (r.confirmed_ms IS NOT NULL
           AND t.through_ms > coalesce(r.covered_ms, ceil_hour(r.confirmed_ms))))
ORDER BY r.gathered_ms NULLS FIRST, r.device LIMIT %(limit)s

-- name: hours_put
-- What was added up of devices' hours.
UPDATE rollout_devices r SET
    gathered_ms = n.gathered_ms, since_from_ms = n.since_from_ms, since_h = n.since_h,
    before_h = n.before_h, covered_h = n.covered_h, covered_ms = n.covered_ms
FROM unnest(%(device)s::text[], %(gathered_ms)s::bigint[], %(since_from_ms)s::bigint[],
            %(since_h)s::float8[], %(before_h)s::float8[], %(covered_h)s::float8[],
            %(covered_ms)s::bigint[], %(confirmed_ms)s::bigint[])
     AS n (device, gathered_ms, since_from_ms, since_h, before_h, covered_h, covered_ms,
           confirmed_ms)
WHERE r.rollout = %(rollout)s AND r.device = n.device
  AND r.confirmed_ms IS NOT DISTINCT FROM n.confirmed_ms

-- name: hours_of_rollout
-- The camera-hours of devices of a rollout, before it and in this stage, up to where they are known.
SELECT device, digest = %(digest)s AND NOT is_shadow AND active_ms IS NOT NULL, before_h, since_h,
       since_from_ms, gathered_ms
FROM rollout_devices WHERE rollout = %(rollout)s AND before_h IS NOT NULL

-- name: measure_due
-- Devices of a stage whose latency and confidence are to be read (again), those first that never
-- were; of those that could be, as many of each side as are looked at, by lot.
SELECT r.device, r.taken, r.since_from_ms, r.gathered_ms FROM (
    SELECT device, since_from_ms, gathered_ms,
           digest = %(digest)s AND NOT is_shadow AND active_ms IS NOT NULL AS taken,
           row_number() OVER (PARTITION BY digest = %(digest)s AND NOT is_shadow
                              ORDER BY md5(rollout || device)) AS lot
    FROM rollout_devices
    WHERE rollout = %(rollout)s AND gathered_ms > since_from_ms
      AND (digest = '' OR (digest = %(digest)s AND active_ms IS NOT NULL AND NOT is_shadow))) r
LEFT JOIN rollout_measured m
       ON m.rollout = %(rollout)s AND m.stage = %(stage)s AND m.device = r.device
WHERE r.lot <= %(most)s AND (m.device IS NULL OR m.taken <> r.taken OR m.to_ms < r.gathered_ms)
ORDER BY m.to_ms NULLS FIRST, r.taken DESC, r.lot LIMIT %(limit)s

-- name: measure_bodies
-- Merged hours of the cameras of a device.
SELECT start_ms, body FROM rollup_hour WHERE device = %(device)s AND start_ms = ANY (%(hours)s)

-- name: measured_put
-- Latency and confidence of a device before the rollout and in a stage of it.
INSERT INTO rollout_measured (rollout, stage, device, taken, to_ms, latency_before_ms,
                              latency_after_ms, confidence_before, confidence_after)
VALUES (%(rollout)s, %(stage)s, %(device)s, %(taken)s, %(to_ms)s, %(latency_before_ms)s,
        %(latency_after_ms)s, %(confidence_before)s, %(confidence_after)s)
ON CONFLICT (rollout, stage, device) DO UPDATE SET
    taken = excluded.taken, to_ms = excluded.to_ms,
    latency_before_ms = excluded.latency_before_ms,
    latency_after_ms = excluded.latency_after_ms,
    confidence_before = excluded.confidence_before,
    confidence_after = excluded.confidence_after

-- name: measured_all
-- What was measured in a stage.
SELECT device, taken, latency_before_ms, latency_after_ms, confidence_before, confidence_after
FROM rollout_measured WHERE rollout = %(rollout)s AND stage = %(stage)s ORDER BY device
