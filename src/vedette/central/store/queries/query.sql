-- Resolved coverage and metrics by day: how they are kept, and how they are read.

-- name: coverage_due
-- Devices with coverage to resolve, and how far: to the last hour that is over and all here.
SELECT d.device FROM devices d LEFT JOIN coverage_through t USING (device)
WHERE d.drained_to_ms IS NOT NULL AND (
    (least(%(over_ms)s, d.drained_to_ms) / 3600000 * 3600000 > t.through_ms)
    OR (t.through_ms IS NULL AND EXISTS (
        SELECT FROM cameras c WHERE c.device = d.device
        AND c.known_from_ms / 3600000 < least(%(over_ms)s, d.drained_to_ms) / 3600000))
    OR EXISTS (SELECT FROM coverage_dirty n WHERE n.device = d.device))
ORDER BY t.through_ms NULLS LAST, d.device LIMIT %(limit)s

-- name: coverage_hold
-- One device, held: nothing of it is taken in until this transaction ends.
SELECT d.drained_to_ms, t.through_ms,
       (SELECT min(known_from_ms) FROM cameras c WHERE c.device = d.device) AS known_from_ms
FROM devices d LEFT JOIN coverage_through t USING (device)
WHERE d.device = %(device)s FOR UPDATE OF d

-- name: coverage_dirty_take
-- What has to be resolved again of one device.
DELETE FROM coverage_dirty WHERE device = %(device)s RETURNING from_ms, to_ms

-- name: coverage_dirty_put
-- What has to be resolved again, later.
INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
VALUES (%(device)s, '', %(from_ms)s, %(to_ms)s)

-- name: coverage_through_put
-- How far one device's coverage is resolved.
INSERT INTO coverage_through (device, through_ms) VALUES (%(device)s, %(through_ms)s)
ON CONFLICT (device) DO UPDATE SET through_ms = excluded.through_ms

-- name: coverage_days_of_device
-- The kept coverage of one device over some days.
SELECT camera, day_ms, runs FROM coverage_day
WHERE device = %(device)s AND day_ms >= %(from_ms)s AND day_ms < %(to_ms)s

-- name: coverage_day_put
-- The resolved coverage of one camera's day.
INSERT INTO coverage_day (device, camera, day_ms, runs)
VALUES (%(device)s, %(camera)s, %(day_ms)s, %(runs)s)
ON CONFLICT (device, camera, day_ms) DO UPDATE SET runs = excluded.runs

-- name: metric_day_put
-- One metric of one device's day.
INSERT INTO metric_day (device, metric, day_ms, keys, hours)
VALUES (%(device)s, %(metric)s, %(day_ms)s, %(keys)s, %(hours)s)
ON CONFLICT (device, metric, day_ms) DO UPDATE SET keys = excluded.keys, hours = excluded.hours
WHERE (metric_day.keys, metric_day.hours) IS DISTINCT FROM (excluded.keys, excluded.hours)

-- name: metric_day_drop
-- Metrics of one family that one device's day does not have any more.
DELETE FROM metric_day WHERE device = %(device)s AND day_ms = %(day_ms)s
  AND metric LIKE %(family)s AND metric <> ALL(%(kept)s)

-- name: look_through
-- How far the coverage of devices can be taken from what is kept: up to here, or to late news.
SELECT t.device, least(t.through_ms, (
    SELECT min(from_ms) FROM coverage_dirty n WHERE n.device = t.device))
FROM coverage_through t WHERE t.device = ANY(%(devices)s)

-- name: look_runs
-- The kept coverage of devices over some days.
SELECT device, camera, day_ms, runs FROM coverage_day
WHERE device = ANY(%(devices)s) AND day_ms >= %(from_ms)s AND day_ms < %(to_ms)s
ORDER BY device, camera, day_ms

-- name: coverage_drained
-- Up to when all that one device recorded has arrived.
SELECT drained_to_ms FROM devices WHERE device = %(device)s
