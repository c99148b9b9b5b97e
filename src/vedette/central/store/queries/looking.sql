-- What people look at. Every query takes the sites that the asker may see (NULL: all).

-- name: fleet_sites
-- Sites in scope, without their policies.
SELECT site, name, time_zone, folder, CASE WHEN policy IS NULL THEN 0 ELSE policy_version END
       AS policy_version
FROM sites
WHERE %(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]) ORDER BY site

-- name: fleet_policies
-- The policies of some sites.
SELECT site, policy_version, policy FROM sites
WHERE site = ANY(%(sites)s) AND policy IS NOT NULL

-- name: look_dark_sites
-- Sites in scope that are dark as a whole, and the devices that fell silent together.
SELECT s.site, s.dark_since_ms, t.devices FROM sites s
JOIN site_transitions t ON t.site = s.site AND t.at_ms = s.dark_since_ms AND t.state = 'dark'
WHERE %(scope)s::text[] IS NULL OR s.site = ANY(%(scope)s::text[])

-- name: look_devices
-- Devices in scope that are not revoked, or one of them: who asks for it by name sees its past.
SELECT device, site, state, since_ms, last_contact_ms, version, hardware, clock_state, health,
       drained_to_ms, settings, settings_version, enrolled_ms, quarantined_ms, revoked_ms,
       revoked_reason
FROM devices
WHERE (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]))
  AND CASE WHEN %(device)s::text IS NULL THEN revoked_ms IS NULL ELSE device = %(device)s END
ORDER BY site, device

-- name: look_cameras
-- Cameras of devices.
SELECT device, camera, name, known_from_ms, state, since_ms, signs, detail FROM cameras
WHERE device = ANY(%(devices)s) AND (%(camera)s::text IS NULL OR camera = %(camera)s)
ORDER BY device, camera

-- name: look_claims_joined
-- Coverage claims in a window, joined where they touch: for strips, where rates do not matter.
SELECT device, camera, cause, weak, lower(span), upper(span) FROM (
    SELECT device, camera, cause, weak, unnest(range_agg(int8range(start_ms, end_ms))) AS span
    FROM coverage_claims
    WHERE device = ANY(%(devices)s) AND end_ms > %(from_ms)s AND start_ms < %(to_ms)s
    GROUP BY device, camera, cause, weak) joined

-- name: look_claims
-- Coverage claims of one camera in a window.
SELECT cause, weak, start_ms, end_ms, rate_fps, detail FROM coverage_claims
WHERE device = %(device)s AND camera = %(camera)s
  AND end_ms > %(from_ms)s AND start_ms < %(to_ms)s

-- name: look_states
-- State changes in a window, and the one that held when it began: the last in the device's order,
-- since a clock that was set back dates a later change before an earlier one.
SELECT device, camera, at_ms, state, cause, detail FROM (
    SELECT device, camera, epoch, seq, at_ms, state, cause, detail FROM camera_states
    WHERE device = ANY(%(devices)s) AND at_ms >= %(from_ms)s
    UNION
    SELECT s.device, s.camera, s.epoch, s.seq, s.at_ms, s.state, s.cause, s.detail
    FROM cameras c CROSS JOIN LATERAL (
        SELECT * FROM camera_states s
        WHERE s.device = c.device AND s.camera = c.camera AND s.at_ms < %(from_ms)s
        ORDER BY s.epoch DESC, s.seq DESC LIMIT 1) s
    WHERE c.device = ANY(%(devices)s)) found
ORDER BY device, camera, epoch, seq

-- name: look_transitions
-- When devices fell silent and spoke again, in a window, and the last change before it.
SELECT device, at_ms, state FROM (
    SELECT device, at_ms, noticed_ms, state FROM device_transitions
    WHERE device = ANY(%(devices)s) AND at_ms >= %(from_ms)s
    UNION
    SELECT t.device, t.at_ms, t.noticed_ms, t.state
    FROM unnest(%(devices)s::text[]) AS d (device) CROSS JOIN LATERAL (
        SELECT * FROM device_transitions t WHERE t.device = d.device AND t.at_ms < %(from_ms)s
        ORDER BY t.at_ms DESC, t.noticed_ms DESC LIMIT 1) t) found
ORDER BY device, at_ms, noticed_ms

-- name: look_silences
-- When devices first fell silent for a while after given times.
SELECT g.device, g.camera, min(t.at_ms)
FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(since)s::bigint[])
     AS g (device, camera, since_ms)
JOIN device_transitions t ON t.device = g.device AND t.state = 'dark' AND t.at_ms > g.since_ms
WHERE NOT EXISTS (SELECT FROM device_transitions o WHERE o.device = t.device
                  AND o.state = 'ok' AND o.at_ms = t.at_ms)
GROUP BY g.device, g.camera

-- name: look_ended
-- Since when nothing is taken of devices any more.
SELECT device, revoked_ms FROM devices WHERE device = ANY(%(devices)s) AND revoked_ms IS NOT NULL

-- name: look_central_downs
-- When central was away, in a window.
SELECT start_ms, end_ms FROM central_downs
WHERE end_ms > %(from_ms)s AND start_ms < %(to_ms)s ORDER BY start_ms

-- name: look_event_counts
-- How many events each camera had in a window.
SELECT device, camera, count(*) FROM events
WHERE device = ANY(%(devices)s) AND at_ms >= %(from_ms)s AND at_ms < %(to_ms)s
GROUP BY device, camera

-- name: look_hours
-- Merged hours wholly inside a window that no later minute changed, and closed ones.
SELECT start_ms, body FROM rollup_hour h
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms + 3600000 <= %(to_ms)s
  AND (h.closed OR NOT EXISTS (
      SELECT FROM rollup_dirty d WHERE d.device = h.device AND d.camera = h.camera
      AND d.hour_ms = h.start_ms))
ORDER BY start_ms

-- name: look_minutes
-- Merged minutes in a window.
SELECT start_ms, body FROM rollup_minute
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms < %(to_ms)s
ORDER BY start_ms

-- name: look_days
-- Merged days wholly inside a window of which no hour waits to be merged.
SELECT start_ms, body FROM rollup_day y
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms + 86400000 <= %(to_ms)s
  AND NOT EXISTS (
      SELECT FROM rollup_dirty d WHERE d.device = y.device AND d.camera = y.camera
      AND d.hour_ms >= y.start_ms AND d.hour_ms < y.start_ms + 86400000)
ORDER BY start_ms

-- name: look_hours_beside
-- Merged hours as of `look_hours` that lie in none of some days.
SELECT start_ms, body FROM rollup_hour h
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms + 3600000 <= %(to_ms)s
  AND start_ms - start_ms %% 86400000 <> ALL(%(days)s::bigint[])
  AND (h.closed OR NOT EXISTS (
      SELECT FROM rollup_dirty d WHERE d.device = h.device AND d.camera = h.camera
      AND d.hour_ms = h.start_ms))
ORDER BY start_ms

-- name: look_minutes_of_hours
-- Merged minutes in a window, of some hours.
SELECT m.start_ms, m.body FROM unnest(%(hours)s::bigint[]) AS o (hour_ms)
JOIN rollup_minute m ON m.device = %(device)s AND m.camera = %(camera)s
 AND m.start_ms >= greatest(o.hour_ms, %(from_ms)s)
 AND m.start_ms < least(o.hour_ms + 3600000, %(to_ms)s)
ORDER BY m.start_ms

-- name: look_pending_request
-- Who waits for a picture of a camera.
SELECT asked_by FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = 'thumbnail'
  AND answered_ms IS NULL AND expires_ms > %(now_ms)s LIMIT 1

-- name: look_thumbnail_time
-- When the newest picture of a camera was taken, without the picture.
SELECT answered_ms FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = 'thumbnail' AND answered_ms IS NOT NULL
ORDER BY asked_ms DESC LIMIT 1

-- name: look_events
-- A page of events, newest first, after a cursor.
SELECT e.device, e.event, e.site, e.camera, e.at_ms, e.received_ms, e.late, e.body,
       v.status AS evidence_status, v.stays AS evidence_stays, v.body AS evidence_body,
       coalesce(c.state = 'here', false) AS clip_here,
       coalesce((SELECT f.name FROM clip_files f
           WHERE c.state = 'here' AND f.device = e.device AND f.evidence = e.evidence
           AND f.name = CASE c.form WHEN 'blurred' THEN 'blurred.jpg' ELSE 'poster.jpg' END),
           '') AS poster
FROM events e LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence
                                  AND e.evidence <> ''
     LEFT JOIN clips c ON c.device = e.device AND c.evidence = e.evidence AND e.evidence <> ''
WHERE (%(scope)s::text[] IS NULL OR e.site = ANY(%(scope)s::text[]))
  AND (%(site)s = '' OR e.site = %(site)s)
  AND (%(device)s = '' OR e.device = %(device)s)
  AND (%(camera)s = '' OR e.camera = %(camera)s)
  AND (%(kind)s = '' OR e.kind = %(kind)s)
  AND (%(label)s = '' OR e.label = %(label)s)
  AND (%(where)s = '' OR e.where_name = %(where)s)
  AND (NOT %(late)s OR e.late)
  AND CASE %(evidence)s WHEN '' THEN true WHEN 'none' THEN e.evidence = ''
      WHEN 'any' THEN e.evidence <> '' WHEN 'here' THEN c.state = 'here'
      WHEN 'waiting' THEN e.evidence <> '' AND v.status IS NULL
      WHEN 'on_site' THEN v.status = 'complete' AND c.state IS DISTINCT FROM 'here'
      ELSE v.status = %(evidence)s END
  AND e.at_ms >= %(from_ms)s AND e.at_ms < %(to_ms)s
  AND (e.at_ms, e.event, e.device) < (%(cursor_ms)s, %(cursor_event)s, %(cursor_device)s)
ORDER BY e.at_ms DESC, e.event DESC, e.device DESC LIMIT %(limit)s

-- name: look_event
-- One event.
SELECT e.device, e.event, e.site, e.camera, e.at_ms, e.received_ms, e.late, e.body,
       v.status AS evidence_status, v.stays AS evidence_stays, v.body AS evidence_body,
       coalesce(c.state = 'here', false) AS clip_here,
       coalesce((SELECT f.name FROM clip_files f
           WHERE c.state = 'here' AND f.device = e.device AND f.evidence = e.evidence
           AND f.name = CASE c.form WHEN 'blurred' THEN 'blurred.jpg' ELSE 'poster.jpg' END),
           '') AS poster
FROM events e LEFT JOIN evidence v ON v.device = e.device AND v.evidence = e.evidence
                                  AND e.evidence <> ''
     LEFT JOIN clips c ON c.device = e.device AND c.evidence = e.evidence AND e.evidence <> ''
WHERE e.event = %(event)s AND (%(scope)s::text[] IS NULL OR e.site = ANY(%(scope)s::text[]))
LIMIT 1

-- name: commissions_of
-- What came of commissioning one camera, the newest first.
SELECT at_ms, received_ms, body FROM commissions
WHERE device = %(device)s AND camera = %(camera)s ORDER BY at_ms DESC LIMIT 20
