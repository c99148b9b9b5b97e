-- What cameras are: their inventory over time, and what the camera matrix is counted from.

-- name: inventory_due
-- Devices whose health was not looked at for a while, the longest first.
SELECT d.device, d.health, d.health_at_ms FROM devices d
LEFT JOIN inventory_looks l USING (device)
WHERE d.health_at_ms IS NOT NULL AND d.health IS NOT NULL AND d.revoked_ms IS NULL
  AND (l.device IS NULL OR (l.looked_ms <= %(before_ms)s AND l.health_at_ms <> d.health_at_ms))
ORDER BY l.looked_ms NULLS FIRST LIMIT %(limit)s

-- name: inventory_latest
-- What is known of the cameras of devices, the newest of each.
SELECT DISTINCT ON (device, camera) device, camera, since_ms, make, model, firmware, serial, codec,
       width_px, height_px, announced_fps, source_kind, rate_fps, seen_ms
FROM camera_inventory WHERE device = ANY(%(devices)s) ORDER BY device, camera, since_ms DESC

-- name: inventory_add
-- A camera that is another than before, or new.
INSERT INTO camera_inventory (device, camera, since_ms, make, model, firmware, serial, codec,
    width_px, height_px, announced_fps, source_kind, rate_fps, seen_ms)
SELECT %(device)s, %(camera)s, %(since_ms)s, %(make)s, %(model)s, %(firmware)s, %(serial)s,
       %(codec)s, %(width_px)s, %(height_px)s, %(announced_fps)s, %(source_kind)s, %(rate_fps)s,
       %(seen_ms)s
WHERE EXISTS (SELECT FROM cameras WHERE device = %(device)s AND camera = %(camera)s)
ON CONFLICT (device, camera, since_ms) DO NOTHING

-- name: inventory_trim
-- Only so many changes of each camera of these devices: one that is another each time is a fault.
DELETE FROM camera_inventory i WHERE device = ANY(%(devices)s) AND since_ms < (
    SELECT n.since_ms FROM camera_inventory n WHERE n.device = i.device AND n.camera = i.camera
    ORDER BY n.since_ms DESC OFFSET %(keep)s - 1 LIMIT 1)

-- name: inventory_seen
-- The camera is still the same; its rate as it is now.
UPDATE camera_inventory SET rate_fps = %(rate_fps)s, seen_ms = %(seen_ms)s
WHERE device = %(device)s AND camera = %(camera)s AND since_ms = %(since_ms)s

-- name: inventory_looked
-- These devices were looked at.
INSERT INTO inventory_looks (device, looked_ms, health_at_ms)
SELECT device, %(now_ms)s, health_at_ms
FROM unnest(%(devices)s::text[], %(at_ms)s::bigint[]) AS looked (device, health_at_ms)
ON CONFLICT (device) DO UPDATE SET looked_ms = excluded.looked_ms,
    health_at_ms = excluded.health_at_ms

-- name: inventory_of
-- The inventory of the cameras of sites in scope over time, oldest first.
SELECT d.site, i.device, i.camera, i.since_ms, i.make, i.model, i.firmware, i.serial, i.codec,
       i.width_px, i.height_px, i.announced_fps, i.source_kind, i.rate_fps, i.seen_ms
FROM camera_inventory i JOIN devices d USING (device)
WHERE (%(scope)s::text[] IS NULL OR d.site = ANY(%(scope)s::text[]))
  AND (%(device)s::text IS NULL OR i.device = %(device)s)
  AND (%(camera)s::text IS NULL OR i.camera = %(camera)s)
ORDER BY d.site, i.device, i.camera, i.since_ms

-- name: inventory_present
-- What cameras in scope are now and how they are, by name: all, or a page after one; those that never
-- said what they are too. `devices` and `cameras` pair those that are wanted (NULL: all).
SELECT p.site, p.device, p.camera, coalesce(i.since_ms, p.known_from_ms) AS since_ms,
       coalesce(i.make, '') AS make, coalesce(i.model, '') AS model,
       coalesce(i.firmware, '') AS firmware, coalesce(i.serial, '') AS serial,
       coalesce(i.codec, '') AS codec, i.width_px, i.height_px, i.announced_fps,
       coalesce(i.source_kind, '') AS source_kind, i.rate_fps, coalesce(i.seen_ms, 0) AS seen_ms,
       p.state, p.state_since_ms, p.signs, p.detail
FROM (
    SELECT d.site, c.device, c.camera, c.known_from_ms, c.signs, c.detail,
           CASE WHEN d.state = 'dark' THEN 'dark' ELSE c.state END AS state,
           CASE WHEN d.state = 'dark' THEN d.since_ms ELSE c.since_ms END AS state_since_ms
    FROM devices d JOIN cameras c USING (device)
    WHERE (%(scope)s::text[] IS NULL OR d.site = ANY(%(scope)s::text[])) AND d.revoked_ms IS NULL
      AND (%(devices)s::text[] IS NULL OR (c.device, c.camera) IN (
          SELECT * FROM unnest(%(devices)s::text[], %(cameras)s::text[])))
      AND (d.site, c.device, c.camera) > (%(after_site)s, %(after_device)s, %(after_camera)s)
    ORDER BY d.site, c.device, c.camera LIMIT %(limit)s) p
LEFT JOIN LATERAL (
    SELECT * FROM camera_inventory i WHERE i.device = p.device AND i.camera = p.camera
    ORDER BY i.since_ms DESC LIMIT 1) i ON true
ORDER BY p.site, p.device, p.camera

-- name: matrix_cameras
-- Every camera in scope, those of revoked devices too, and up to when its record has arrived.
SELECT d.site, c.device, c.camera, c.known_from_ms, d.drained_to_ms
FROM cameras c JOIN devices d USING (device)
WHERE (%(scope)s::text[] IS NULL OR d.site = ANY(%(scope)s::text[]))
ORDER BY c.device, c.camera

-- name: matrix_failures
-- When cameras became down or tampered, in a window; a state said again is no new failure.
SELECT device, camera, at_ms, state FROM (
    SELECT device, camera, at_ms, state,
           lag(state) OVER (PARTITION BY device, camera ORDER BY epoch, seq) AS before
    FROM camera_states WHERE device = ANY(%(devices)s)) s
WHERE at_ms >= %(from_ms)s AND at_ms < %(to_ms)s AND state IN ('down', 'tampered')
  AND before IS DISTINCT FROM state

-- name: matrix_reconnects
-- Connections that were made again, by camera and day.
SELECT device, camera, day_ms, count FROM camera_reconnects
WHERE device = ANY(%(devices)s) AND day_ms >= %(from_ms)s AND day_ms < %(to_ms)s

-- name: reconnects_add
-- Connections that were made again.
INSERT INTO camera_reconnects (device, camera, day_ms, count)
SELECT * FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(days)s::bigint[],
                     %(counts)s::bigint[])
ON CONFLICT (device, camera, day_ms) DO UPDATE SET count = camera_reconnects.count + excluded.count

-- name: reconnects_expire
-- Reconnects older than the days that they are of.
DELETE FROM camera_reconnects WHERE day_ms < %(before_ms)s
