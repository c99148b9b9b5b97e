-- What happened, from every place where it is written down. Each page query gives the newest that
-- are older than a place (moment, key), newest first.

-- name: happening_put
-- One thing that happened.
INSERT INTO happenings (device, at_ms, kind, number, detail)
VALUES (%(device)s, %(at_ms)s, %(kind)s, %(number)s, %(detail)s) ON CONFLICT DO NOTHING

-- name: happenings_through
-- Up to where happenings are kept, and how the device was then.
SELECT through_ms, last FROM happenings_through WHERE device = %(device)s

-- name: happenings_through_put
-- Happenings are kept up to here.
INSERT INTO happenings_through (device, through_ms, last)
VALUES (%(device)s, %(through_ms)s, %(last)s)
ON CONFLICT (device) DO UPDATE SET through_ms = excluded.through_ms, last = excluded.last

-- name: happenings_reports
-- The newest health reports of a window, newest first.
SELECT made_ms, clock_state, body FROM reports
WHERE device = %(device)s AND schema = 'health.v1' AND outcome = 'accepted'
  AND received_ms >= %(from_ms)s AND made_ms >= %(from_ms)s AND made_ms < %(to_ms)s
ORDER BY made_ms DESC LIMIT %(limit)s

-- name: happenings_expire
-- What happened long ago.
DELETE FROM happenings WHERE at_ms < %(before_ms)s

-- name: heat_edges
-- When a device began and ceased to be held back in a window, and the last change before it.
SELECT at_ms, detail FROM (
    (SELECT at_ms, number, detail FROM happenings
     WHERE device = %(device)s AND kind = 'heat' AND at_ms >= %(from_ms)s)
    UNION ALL
    (SELECT at_ms, number, detail FROM happenings
     WHERE device = %(device)s AND kind = 'heat' AND at_ms < %(from_ms)s
     ORDER BY at_ms DESC, number DESC LIMIT 1)) found
ORDER BY at_ms, number

-- name: timeline_told
-- What happened as devices' reports tell it.
SELECT device, at_ms, kind, detail,
       'told/' || device || '/' || kind || '/' || number AS key
FROM happenings WHERE device = ANY(%(devices)s) AND at_ms <= %(at_ms)s
  AND kind = ANY(%(kinds)s)
  AND (at_ms, ('told/' || device || '/' || kind || '/' || number) COLLATE "C")
      < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY at_ms DESC, ('told/' || device || '/' || kind || '/' || number) COLLATE "C" DESC
LIMIT %(limit)s

-- name: timeline_contact
-- When devices fell silent and were heard again, with when the silence had begun.
SELECT t.device, t.at_ms, t.noticed_ms, t.state, 'contact/' || t.device || '/' || t.state AS key,
       (SELECT max(p.at_ms) FROM device_transitions p WHERE p.device = t.device
        AND p.state = 'dark' AND p.at_ms <= t.at_ms) AS since_ms
FROM device_transitions t
WHERE t.device = ANY(%(devices)s) AND t.at_ms <= %(at_ms)s
  AND (t.at_ms, ('contact/' || t.device || '/' || t.state) COLLATE "C")
      < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY t.at_ms DESC, ('contact/' || t.device || '/' || t.state) COLLATE "C" DESC
LIMIT %(limit)s

-- name: timeline_site
-- When a site was dark as a whole.
SELECT at_ms, noticed_ms, state, devices, 'site/' || site || '/' || state AS key
FROM site_transitions WHERE site = %(site)s AND at_ms <= %(at_ms)s
  AND (at_ms, ('site/' || site || '/' || state) COLLATE "C") < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY at_ms DESC, ('site/' || site || '/' || state) COLLATE "C" DESC LIMIT %(limit)s

-- name: timeline_cameras
-- When cameras changed their state.
SELECT f.device, f.camera, f.at_ms, f.noticed_ms, f.state, f.signs, f.detail, f.key
FROM cameras c CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT s.*, 'camera/' || s.device || '/' || s.camera || '/' || lpad(s.epoch::text, 10, '0')
                    || '/' || lpad(s.seq::text, 19, '0') AS key
        FROM camera_states s
        WHERE s.device = c.device AND s.camera = c.camera AND s.at_ms <= %(at_ms)s) k
    WHERE (k.at_ms, k.key COLLATE "C") < (%(at_ms)s, %(key)s COLLATE "C")
    ORDER BY k.at_ms DESC, k.epoch DESC, k.seq DESC LIMIT %(limit)s) f
WHERE c.device = ANY(%(devices)s)
ORDER BY f.at_ms DESC, f.key COLLATE "C" DESC LIMIT %(limit)s

-- name: timeline_gaps
-- Rare gaps of devices, all cameras together, joined where they touch.
SELECT f.device, f.cause, f.at_ms, f.end_ms, w.cameras, w.detail, f.key FROM (
    SELECT j.device, j.cause, lower(j.span) AS at_ms, upper(j.span) AS end_ms,
           'gap/' || j.device || '/' || j.cause AS key
    FROM (
        SELECT device, cause, unnest(range_agg(int8range(start_ms, end_ms))) AS span
        FROM coverage_claims
        WHERE device = ANY(%(devices)s) AND NOT weak
          AND cause IN ('PIPELINE_STOPPED', 'EVICTED', 'CLOCK_UNTRUSTED')
        GROUP BY device, cause) j) f
CROSS JOIN LATERAL (
    SELECT count(DISTINCT camera) AS cameras, coalesce(max(detail), '') AS detail
    FROM coverage_claims c
    WHERE c.device = f.device AND c.cause = f.cause AND NOT c.weak
      AND c.cause IN ('PIPELINE_STOPPED', 'EVICTED', 'CLOCK_UNTRUSTED')
      AND c.start_ms >= f.at_ms AND c.start_ms < f.end_ms) w
WHERE f.at_ms <= %(at_ms)s AND (f.at_ms, f.key COLLATE "C") < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY f.at_ms DESC, f.key COLLATE "C" DESC LIMIT %(limit)s

-- name: timeline_audit
-- What people and central did to devices and their site.
SELECT at_ms, actor, action, target, detail, 'audit/' || lpad(number::text, 19, '0') AS key
FROM audit_log
WHERE split_part(target, '/', 1) = ANY(%(targets)s) AND at_ms <= %(at_ms)s
  AND ((action = ANY(%(of_devices)s) AND split_part(target, '/', 1) = ANY(%(devices)s))
       OR (action = ANY(%(of_sites)s) AND split_part(target, '/', 1) = %(site)s
           AND (target = %(site)s OR %(device)s = ''
                OR starts_with(target || '/', %(site)s || '/' || %(device)s || '/'))))
  AND (at_ms, ('audit/' || lpad(number::text, 19, '0')) COLLATE "C")
      < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY at_ms DESC, number DESC LIMIT %(limit)s

-- name: timeline_central
-- When central itself was away.
SELECT start_ms AS at_ms, end_ms, 'central/down' AS key FROM central_downs
WHERE start_ms <= %(at_ms)s
  AND (start_ms, 'central/down' COLLATE "C") < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY start_ms DESC LIMIT %(limit)s

-- name: timeline_enrolled
-- When devices were enrolled.
SELECT device, enrolled_ms AS at_ms, 'enrolled/' || device AS key FROM devices
WHERE device = ANY(%(devices)s) AND enrolled_ms <= %(at_ms)s
  AND (enrolled_ms, ('enrolled/' || device) COLLATE "C") < (%(at_ms)s, %(key)s COLLATE "C")
ORDER BY enrolled_ms DESC, ('enrolled/' || device) COLLATE "C" DESC LIMIT %(limit)s

-- name: timeline_devices
-- Every device of a site, revoked ones too.
SELECT device FROM devices WHERE site = %(site)s ORDER BY device
