-- Slow work: merging hours and days, retention, partitions.

-- name: dirty_hours_take
-- Hours that are over and whose minutes changed a while ago; taken by one worker.
DELETE FROM rollup_dirty WHERE (device, camera, hour_ms) IN (
    SELECT device, camera, hour_ms FROM rollup_dirty WHERE marked_ms <= %(before_ms)s AND hour_ms <= %(over_ms)s
    ORDER BY marked_ms LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING device, camera, hour_ms

-- name: minutes_of_hour
-- The merged minutes of one hour.
SELECT body FROM rollup_minute
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms < %(to_ms)s ORDER BY start_ms

-- name: minutes_take_of_hour
-- Late minutes of an hour that keeps no minutes any more: read and dropped as one.
DELETE FROM rollup_minute
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms < %(to_ms)s RETURNING body

-- name: hour_closed
-- One merged hour whose minutes were dropped, held; no row for any other.
SELECT body FROM rollup_hour
WHERE device = %(device)s AND camera = %(camera)s AND start_ms = %(start_ms)s AND closed
FOR UPDATE

-- name: hours_of_day
-- The merged hours of one day.
SELECT body FROM rollup_hour
WHERE device = %(device)s AND camera = %(camera)s
  AND start_ms >= %(from_ms)s AND start_ms < %(to_ms)s ORDER BY start_ms

-- name: hour_put
-- One merged hour.
INSERT INTO rollup_hour (device, camera, start_ms, body)
VALUES (%(device)s, %(camera)s, %(start_ms)s, %(body)s)
ON CONFLICT (device, camera, start_ms) DO UPDATE SET body = excluded.body

-- name: day_put
-- One merged day.
INSERT INTO rollup_day (device, camera, start_ms, body)
VALUES (%(device)s, %(camera)s, %(start_ms)s, %(body)s)
ON CONFLICT (device, camera, start_ms) DO UPDATE SET body = excluded.body

-- name: hours_to_close
-- Devices with hours that are old, hold all of their minutes, and still have them.
SELECT DISTINCT h.device FROM rollup_hour h
WHERE NOT h.closed AND h.start_ms + 3600000 <= %(before_ms)s AND NOT EXISTS (
    SELECT FROM rollup_dirty d WHERE d.device = h.device AND d.camera = h.camera
    AND d.hour_ms = h.start_ms)

-- name: device_hold
-- Nothing of this device is taken in until this transaction ends.
SELECT true FROM devices WHERE device = %(device)s FOR UPDATE

-- name: hours_close
-- Old hours of one device, which must be held: their minutes go and late ones are added to them.
WITH over AS (
    UPDATE rollup_hour h SET closed = true
    WHERE h.device = %(device)s AND NOT h.closed AND h.start_ms + 3600000 <= %(before_ms)s
      AND NOT EXISTS (SELECT FROM rollup_dirty d WHERE d.device = h.device
                      AND d.camera = h.camera AND d.hour_ms = h.start_ms)
    RETURNING h.device, h.camera, h.start_ms)
DELETE FROM rollup_minute m USING over
WHERE m.device = over.device AND m.camera = over.camera
  AND m.start_ms >= over.start_ms AND m.start_ms < over.start_ms + 3600000

-- name: minutes_expire
-- Minutes that no hour could be made of, when their hour's time is over.
DELETE FROM rollup_minute m WHERE start_ms < %(before_ms)s AND NOT EXISTS (
    SELECT FROM rollup_dirty d WHERE d.device = m.device AND d.camera = m.camera
    AND d.hour_ms = m.start_ms - m.start_ms %% 3600000)

-- name: hours_expire
-- Hours that are old.
DELETE FROM rollup_hour WHERE start_ms < %(before_ms)s

-- name: days_expire
-- Days that are old.
DELETE FROM rollup_day WHERE start_ms < %(before_ms)s

-- name: thumbnails_expire
-- Pictures, and requests for them, that are old; what a camera is compared with stays.
DELETE FROM requests WHERE asked_ms < %(before_ms)s
  AND (kind = 'thumbnail' OR (kind = 'reference' AND answered_ms IS NULL))

-- name: events_expire
-- Events that are old; those whose evidence is held stay.
DELETE FROM events e WHERE at_ms < %(before_ms)s
  AND NOT EXISTS (SELECT FROM evidence_holds h WHERE h.device = e.device AND h.event = e.event)

-- name: evidence_expire
-- Evidence records that are old; what is held stays.
DELETE FROM evidence v WHERE received_ms < %(before_ms)s
  AND NOT EXISTS (SELECT FROM evidence_holds h
                  WHERE h.device = v.device AND h.evidence = v.evidence)

-- name: secrets_expire
-- Nonces, tokens, sessions and claims whose time is over.
WITH n AS (DELETE FROM nonces WHERE expires_ms < %(now_ms)s),
     t AS (DELETE FROM access_tokens WHERE expires_ms < %(now_ms)s),
     s AS (DELETE FROM sessions WHERE expires_ms < %(now_ms)s),
     l AS (DELETE FROM setup_tokens WHERE expires_ms < %(now_ms)s)
DELETE FROM claim_tokens WHERE expires_ms < %(now_ms)s - 86400000

-- name: claims_old_cameras
-- Cameras with many old coverage claims that have not been joined.
SELECT device, camera FROM coverage_claims
WHERE end_ms < %(before_ms)s GROUP BY device, camera HAVING count(*) > %(more_than)s

-- name: claims_same
-- From here to the end of the transaction, claims only say again what was said.
SELECT set_config('vedette.same_coverage', 'on', true)

-- name: claims_join
-- Old claims of one camera joined where they touch: rates are forgotten, times and causes are not.
WITH gone AS (
    DELETE FROM coverage_claims
    WHERE device = %(device)s AND camera = %(camera)s AND end_ms < %(before_ms)s
    RETURNING start_ms, end_ms, cause, weak, detail),
joined AS (
    SELECT cause, weak, CASE WHEN cause IS NULL THEN '' ELSE detail END AS detail,
           unnest(range_agg(int8range(start_ms, end_ms))) AS span
    FROM gone GROUP BY 1, 2, 3)
INSERT INTO coverage_claims (device, camera, start_ms, end_ms, cause, weak, detail)
SELECT %(device)s, %(camera)s, lower(span), upper(span), cause, weak, detail FROM joined

-- name: claims_expire
-- Coverage older than the days that it explains.
DELETE FROM coverage_claims WHERE end_ms < %(before_ms)s

-- name: partitions_list
-- Day partitions of raw messages.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_class p ON p.oid = i.inhparent
WHERE p.relname IN ('reports_7', 'reports_90') ORDER BY c.relname
