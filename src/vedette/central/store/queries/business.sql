-- Objectives, figures of the business, overrides and costs.

-- name: slo_targets_all
-- Every objective.
SELECT place, percent FROM slo_targets ORDER BY place

-- name: slo_target_put
-- One objective.
INSERT INTO slo_targets (place, percent, changed_ms, changed_by)
VALUES (%(place)s, %(percent)s, %(now_ms)s, %(actor)s)
ON CONFLICT (place) DO UPDATE
SET percent = excluded.percent, changed_ms = excluded.changed_ms, changed_by = excluded.changed_by

-- name: slo_target_drop
-- No own objective any more.
DELETE FROM slo_targets WHERE place = %(place)s

-- name: slo_cameras
-- Cameras of sites, as far as coverage needs them; those of revoked devices have a past.
SELECT d.site, c.device, c.camera, c.known_from_ms, d.drained_to_ms, d.revoked_ms
FROM cameras c JOIN devices d USING (device)
WHERE d.site = ANY(%(sites)s) ORDER BY d.site, c.device, c.camera

-- name: kpis_all
-- What figures there are.
SELECT kpi, title, unit, adds_up FROM kpis ORDER BY kpi

-- name: kpi_get
-- One kind of figure.
SELECT kpi, title, unit, adds_up FROM kpis WHERE kpi = %(kpi)s

-- name: kpi_put
-- One kind of figure.
INSERT INTO kpis (kpi, title, unit, adds_up, changed_ms, changed_by)
VALUES (%(kpi)s, %(title)s, %(unit)s, %(adds_up)s, %(now_ms)s, %(actor)s)
ON CONFLICT (kpi) DO UPDATE SET title = excluded.title, unit = excluded.unit,
    changed_ms = excluded.changed_ms, changed_by = excluded.changed_by

-- name: kpi_drop
-- No such figure, nor its values.
DELETE FROM kpis WHERE kpi = %(kpi)s

-- name: kpi_values_put
-- Figures in; one that begins at the same moment replaces the one that was there.
INSERT INTO kpi_values (kpi, site, start_ms, end_ms, value, received_ms)
SELECT %(kpi)s, v.site, v.start_ms, v.end_ms, v.value, %(now_ms)s
FROM unnest(%(sites)s::text[], %(starts)s::bigint[], %(ends)s::bigint[], %(values)s::float8[])
     AS v (site, start_ms, end_ms, value)
ON CONFLICT (kpi, site, start_ms) DO UPDATE
SET end_ms = excluded.end_ms, value = excluded.value, received_ms = excluded.received_ms

-- name: kpi_overlaps
-- Figures of these sites that overlap a neighbour, after a push: none may.
SELECT site, start_ms FROM (
    SELECT site, start_ms, end_ms,
           lead(start_ms) OVER (PARTITION BY site ORDER BY start_ms) AS next_ms
    FROM kpi_values WHERE kpi = %(kpi)s AND site = ANY(%(sites)s)
      AND start_ms < %(to_ms)s AND end_ms > %(from_ms)s) near
WHERE next_ms < end_ms LIMIT 1

-- name: kpi_values_of
-- Figures of sites in a window.
SELECT site, start_ms, end_ms, value FROM kpi_values
WHERE kpi = %(kpi)s AND site = ANY(%(sites)s) AND end_ms > %(from_ms)s AND start_ms < %(to_ms)s
ORDER BY site, start_ms LIMIT %(limit)s

-- name: kpi_expire
-- Figures past their time.
DELETE FROM kpi_values WHERE end_ms < %(before_ms)s

-- name: sites_known
-- Which of these sites there are.
SELECT site FROM sites WHERE site = ANY(%(sites)s)

-- name: override_event
-- What an event says of itself, for whoever judges it.
SELECT device, site, camera, at_ms, label, body FROM events
WHERE event = %(event)s
  AND (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[])) LIMIT 2

-- name: override_put
-- One person's word; said again of the same event it replaces the first.
INSERT INTO overrides (override, site, device, camera, event, at_ms, model, said, verdict, correct,
                       note, said_by, received_ms)
VALUES (%(override)s, %(site)s, %(device)s, %(camera)s, %(event)s, %(at_ms)s, %(model)s, %(said)s,
        %(verdict)s, %(correct)s, %(note)s, %(said_by)s, %(now_ms)s)
ON CONFLICT (device, event, said_by) WHERE event <> '' DO UPDATE
SET verdict = excluded.verdict, correct = excluded.correct, note = excluded.note,
    received_ms = excluded.received_ms
RETURNING override

-- name: overrides_counted
-- People's words by camera, model and what was said.
SELECT site, device, camera, model, said,
       count(*) FILTER (WHERE verdict = 'right') AS agreed,
       count(*) FILTER (WHERE verdict = 'wrong') AS overridden,
       count(*) FILTER (WHERE verdict = 'unsure') AS unsure
FROM overrides WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s AND site = ANY(%(sites)s)
GROUP BY site, device, camera, model, said ORDER BY overridden DESC, site, device, camera, model, said
LIMIT %(limit)s

-- name: overrides_expire
-- People's words past their time.
DELETE FROM overrides WHERE at_ms < %(before_ms)s

-- name: cost_rates_all
-- What things cost.
SELECT place, currency, device_hour, kwh, gigabyte, watts FROM cost_rates ORDER BY place

-- name: cost_rate_put
-- What things cost at a place.
INSERT INTO cost_rates (place, currency, device_hour, kwh, gigabyte, watts, changed_ms, changed_by)
VALUES (%(place)s, %(currency)s, %(device_hour)s, %(kwh)s, %(gigabyte)s, %(watts)s, %(now_ms)s,
        %(actor)s)
ON CONFLICT (place) DO UPDATE SET currency = excluded.currency, device_hour = excluded.device_hour,
    kwh = excluded.kwh, gigabyte = excluded.gigabyte, watts = excluded.watts,
    changed_ms = excluded.changed_ms, changed_by = excluded.changed_by

-- name: cost_rate_drop
-- No own costs any more.
DELETE FROM cost_rates WHERE place = %(place)s

-- name: cost_devices
-- Devices of sites, and from when to when they cost something.
SELECT site, device, enrolled_ms, revoked_ms FROM devices
WHERE site = ANY(%(sites)s) ORDER BY site, device
