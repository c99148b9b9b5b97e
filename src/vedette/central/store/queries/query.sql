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
SELECT d.drained_to_ms, t.through_ms, (SELECT beat_ms FROM central_heartbeat) AS beat_ms,
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
  AND metric <> ALL(%(kept)s) AND CASE WHEN %(family)s = ''
      THEN NOT (starts_with(metric, 'coverage.') OR starts_with(metric, 'device.'))
      ELSE starts_with(metric, %(family)s) END

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

-- name: metric_dirty_some
-- Devices with days whose metrics have to be laid out again.
SELECT DISTINCT device FROM metric_dirty LIMIT %(limit)s

-- name: metric_dirty_take
-- Some of the days of one device, which must be held, whose metrics have to be laid out again.
DELETE FROM metric_dirty WHERE (device, day_ms) IN (
    SELECT device, day_ms FROM metric_dirty WHERE device = %(device)s
    ORDER BY day_ms DESC LIMIT %(limit)s)
RETURNING day_ms

-- name: hours_of_device_day
-- The merged hours of every camera of a device in one day.
SELECT h.camera, h.start_ms, h.body FROM cameras c
JOIN rollup_hour h ON h.device = c.device AND h.camera = c.camera
 AND h.start_ms >= %(day_ms)s AND h.start_ms < %(day_ms)s + 86400000
WHERE c.device = %(device)s

-- name: event_hours_of_device_day
-- How many events of each kind and class each camera of a device had in each hour of a day.
SELECT camera, kind, label, ((at_ms - %(day_ms)s) / 3600000)::int, count(*) FROM events
WHERE device = %(device)s AND camera = ANY(%(cameras)s)
  AND at_ms >= %(day_ms)s AND at_ms < %(day_ms)s + 86400000
GROUP BY 1, 2, 3, 4

-- name: cameras_of_device
-- The cameras of one device.
SELECT camera FROM cameras WHERE device = %(device)s

-- name: health_of_hour
-- The health reports that one device sent in a while, as they were dated.
SELECT made_ms, body FROM reports
WHERE device = %(device)s AND schema = 'health.v1' AND outcome = 'accepted'
  AND received_ms >= %(from_ms)s AND received_ms < %(received_ms)s
  AND made_ms >= %(from_ms)s AND made_ms < %(to_ms)s ORDER BY made_ms

-- name: metrics_of_device_day
-- What is laid out of some metrics of one device's day.
SELECT metric, keys, hours FROM metric_day
WHERE device = %(device)s AND day_ms = %(day_ms)s AND starts_with(metric, %(family)s)

-- name: ask_cameras
-- Every camera that a question could be about, with its site's time zone and opening hours; those
-- of revoked devices have a past.
SELECT d.site, d.device, c.camera, c.known_from_ms, d.drained_to_ms, d.revoked_ms, s.time_zone,
       s.hours AS opening
FROM devices d JOIN sites s USING (site) JOIN cameras c USING (device)
WHERE %(scope)s::text[] IS NULL OR d.site = ANY(%(scope)s::text[])
ORDER BY d.site, d.device, c.camera

-- name: ask_metric_days
-- Some metrics of some devices over some days, and of the weeks around them; days of the same
-- series laid end to end; with lump, weeks as the sums of all series.
SELECT device, metric, keys, string_agg(int8send(day_ms), ''), string_agg(hours, '')
FROM metric_day
WHERE metric = ANY(%(metrics)s) AND device = ANY(%(devices)s)
  AND day_ms >= %(from_ms)s AND day_ms < %(to_ms)s
GROUP BY device, metric, keys
UNION ALL
SELECT device, metric, CASE WHEN %(lump)s THEN sum_keys ELSE keys END, days,
       CASE WHEN %(lump)s THEN sums ELSE hours END
FROM metric_week
WHERE metric = ANY(%(metrics)s) AND device = ANY(%(devices)s)
  AND week_ms > %(from_ms)s - 604800000 AND week_ms < %(to_ms)s

-- name: weeks_to_fold
-- Weeks of devices that are over, known in full, and still laid out by day.
SELECT DISTINCT m.device, m.day_ms / 604800000 * 604800000 FROM metric_day m
JOIN coverage_through t ON t.device = m.device
WHERE m.metric = 'coverage.observed' AND m.day_ms < %(before_ms)s / 604800000 * 604800000
  AND m.day_ms / 604800000 * 604800000 + 604800000 <= t.through_ms
  AND NOT EXISTS (SELECT FROM metric_dirty d WHERE d.device = m.device
      AND d.day_ms / 604800000 = m.day_ms / 604800000)
  AND NOT EXISTS (SELECT FROM coverage_dirty n WHERE n.device = m.device)
LIMIT %(limit)s

-- name: metric_dirty_hold
-- Have marks on a week of one device: nobody lays out one of its days until this one is done.
INSERT INTO metric_dirty (device, day_ms)
SELECT %(device)s, %(week_ms)s + n * 86400000::bigint FROM generate_series(0, 6) n
ON CONFLICT (device, day_ms) DO NOTHING

-- name: metric_dirty_release
-- Take the marks on a week of one device away.
DELETE FROM metric_dirty
WHERE device = %(device)s AND day_ms >= %(week_ms)s AND day_ms < %(week_ms)s + 604800000

-- name: metric_days_fold
-- All that is laid out of one device's week, taken away.
DELETE FROM metric_day
WHERE device = %(device)s AND day_ms >= %(week_ms)s AND day_ms < %(week_ms)s + 604800000
RETURNING metric, day_ms, keys, hours

-- name: metric_week_put
-- One metric of one device's week.
INSERT INTO metric_week (device, metric, week_ms, keys, days, hours, sum_keys, sums)
VALUES (%(device)s, %(metric)s, %(week_ms)s, %(keys)s, %(days)s, %(hours)s,
        %(sum_keys)s, %(sums)s)

-- name: metric_folded_put
-- A week of one device is folded.
INSERT INTO metric_folded (device, week_ms) VALUES (%(device)s, %(week_ms)s)

-- name: metric_folded_drop
-- It is not any more; nothing where it was not.
DELETE FROM metric_folded WHERE device = %(device)s AND week_ms = %(week_ms)s

-- name: metric_week_take
-- A folded week of one device, taken away.
DELETE FROM metric_week WHERE device = %(device)s AND week_ms = %(week_ms)s
RETURNING metric, keys, hours

-- name: metric_weeks_expire
-- Metrics by week that are old.
DELETE FROM metric_week WHERE week_ms + 604800000 <= %(before_ms)s

-- name: metric_folded_expire
-- Marks of weeks that are old.
DELETE FROM metric_folded WHERE week_ms + 604800000 <= %(before_ms)s

-- name: ask_unmerged
-- Hours of some devices whose minutes are not merged yet.
SELECT device, camera, hour_ms FROM rollup_dirty
WHERE device = ANY(%(devices)s) AND hour_ms >= %(from_ms)s AND hour_ms < %(to_ms)s
ORDER BY hour_ms DESC, device, camera LIMIT %(limit)s

-- name: ask_bodies
-- Merged aggregates of some cameras over a while, of hours or of days.
SELECT r.device, r.camera, r.start_ms, r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[]) AS w (device, camera)
JOIN rollup_hour r USING (device, camera)
WHERE r.start_ms >= %(from_ms)s AND r.start_ms < %(to_ms)s

-- name: ask_day_bodies
-- Merged days of some cameras over a while.
SELECT r.device, r.camera, r.start_ms, r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[]) AS w (device, camera)
JOIN rollup_day r USING (device, camera)
WHERE r.start_ms >= %(from_ms)s AND r.start_ms < %(to_ms)s

-- name: ask_minute_bodies
-- Merged minutes of some cameras over a while.
SELECT r.device, r.camera, r.start_ms, r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[]) AS w (device, camera)
JOIN rollup_minute r USING (device, camera)
WHERE r.start_ms >= %(from_ms)s AND r.start_ms < %(to_ms)s

-- name: coverage_days_expire
-- Resolved coverage that is old.
DELETE FROM coverage_day WHERE day_ms < %(before_ms)s

-- name: metric_days_expire
-- Metrics by day that are old.
DELETE FROM metric_day WHERE day_ms < %(before_ms)s

-- name: ask_closed_hour
-- A merged hour whose minutes were dropped.
SELECT body FROM rollup_hour
WHERE device = %(device)s AND camera = %(camera)s AND start_ms = %(start_ms)s AND closed

-- name: sketch_dirty_some
-- Devices with days that are over whose sketches have to be laid out again.
SELECT DISTINCT device FROM sketch_dirty WHERE day_ms < %(over_ms)s LIMIT %(limit)s

-- name: sketch_dirty_take
-- Some of those days of one device, which must be held.
DELETE FROM sketch_dirty WHERE (device, day_ms) IN (
    SELECT device, day_ms FROM sketch_dirty WHERE device = %(device)s AND day_ms < %(over_ms)s
    ORDER BY day_ms DESC LIMIT %(limit)s)
RETURNING day_ms

-- name: sketch_loose_put
-- A day of this week was laid out: the week has to be merged again.
INSERT INTO sketch_loose (device, week_ms) VALUES (%(device)s, %(week_ms)s)
ON CONFLICT (device, week_ms) DO NOTHING

-- name: sketch_loose_drop
-- This week is merged.
DELETE FROM sketch_loose WHERE device = %(device)s AND week_ms = %(week_ms)s

-- name: sketch_weeks_due
-- Weeks that are over, with days laid out since they were merged, and none still to lay out.
SELECT device, week_ms FROM sketch_loose l WHERE week_ms < %(before_ms)s
  AND NOT EXISTS (SELECT FROM sketch_dirty d WHERE d.device = l.device
      AND d.day_ms >= l.week_ms AND d.day_ms < l.week_ms + 604800000)
LIMIT %(limit)s

-- name: sketch_week_of_device
-- The sketches of one device's days in a week.
SELECT field, name, keys, bins, counts, sums FROM sketch_day
WHERE device = %(device)s AND days = 1
  AND start_ms >= %(week_ms)s AND start_ms < %(week_ms)s + 604800000

-- name: sketch_day_drop
-- Sketches of one device's day or week.
DELETE FROM sketch_day
WHERE device = %(device)s AND days = %(days)s AND start_ms = %(start_ms)s

-- name: sketch_day_put
-- One field and name of one device's day or week.
INSERT INTO sketch_day (device, field, name, days, start_ms, keys, bins, counts, sums)
VALUES (%(device)s, %(field)s, %(name)s, %(days)s, %(start_ms)s, %(keys)s, %(bins)s,
        %(counts)s, %(sums)s)

-- name: sketch_expire
-- Sketches by day that are old.
DELETE FROM sketch_day WHERE start_ms < %(before_ms)s

-- name: ask_sketch_dirty
-- Days of some devices whose sketches have to be taken from the source.
SELECT device, day_ms FROM sketch_dirty
WHERE device = ANY(%(devices)s) AND day_ms >= %(from_ms)s AND day_ms < %(to_ms)s

-- name: ask_sketch_loose
-- Weeks that are not merged as a whole for every one of some devices.
SELECT DISTINCT week_ms FROM sketch_loose
WHERE device = ANY(%(devices)s) AND week_ms >= %(from_ms)s AND week_ms < %(to_ms)s

-- name: ask_plans
-- Statements of this transaction are planned for the arrays that they bring: a plan for any length,
-- which the server turns to after a few of them, takes up to ten times as long.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: ask_more_memory
-- Large sums of this transaction stay in memory, and nothing is sorted for them.
SELECT set_config('work_mem', '128MB', true), set_config('enable_sort', 'off', true)

-- name: ask_sketches
-- Sketches of some devices, by group and step, those of the same keys laid end to end; days of a
-- device that have to be taken from the source are left out.
SELECT w.part, s.step, k.name, k.keys,
       string_agg(k.bins, ''), string_agg(k.counts, ''), string_agg(k.sums, '')
FROM unnest(%(starts)s::bigint[], %(days)s::smallint[], %(steps)s::int[]) AS s (start_ms, days, step)
JOIN sketch_day k USING (start_ms, days)
JOIN unnest(%(devices)s::text[], %(parts)s::int[]) AS w (device, part) USING (device)
WHERE k.field = %(field)s AND (%(names)s::text[] IS NULL OR k.name = ANY(%(names)s::text[]))
  AND k.start_ms >= %(from_ms)s AND k.start_ms < %(to_ms)s
  AND NOT EXISTS (SELECT FROM unnest(%(dirty_devices)s::text[], %(dirty_days)s::bigint[])
      AS d (device, start_ms) WHERE d.device = k.device AND d.start_ms = k.start_ms AND k.days = 1)
GROUP BY 1, 2, 3, 4

-- name: ask_bodies_of_days
-- Merged days of some cameras, each with the day that is wanted of it.
SELECT r.device, r.camera, r.start_ms, r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(days)s::bigint[])
    AS w (device, camera, start_ms)
JOIN rollup_day r USING (device, camera, start_ms)

-- name: ask_bodies_within_days
-- Merged hours of some cameras, each with the day that is wanted of it.
SELECT r.device, r.camera, r.start_ms, r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(days)s::bigint[]) AS w (device, camera, day_ms)
JOIN rollup_hour r ON r.device = w.device AND r.camera = w.camera
 AND r.start_ms >= w.day_ms AND r.start_ms < w.day_ms + 86400000

-- name: ask_minute_versions
-- Which version of each minute of some devices stands: start, transaction and place, end to end.
SELECT device, camera, string_agg(int8send(start_ms) || xidsend(xmin) || tidsend(ctid), '')
FROM rollup_minute
WHERE device = ANY(%(devices)s) AND start_ms >= %(from_ms)s AND start_ms < %(to_ms)s
GROUP BY device, camera

-- name: ask_minutes_with_versions
-- Some merged minutes, with the version that each is.
SELECT r.device, r.camera, int8send(r.start_ms) || xidsend(r.xmin) || tidsend(r.ctid), r.body
FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(starts)s::bigint[])
    AS w (device, camera, start_ms)
JOIN rollup_minute r USING (device, camera, start_ms)
