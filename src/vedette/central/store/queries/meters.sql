-- What a scraper of /metrics is told.

-- name: meter_devices
-- Devices by state.
SELECT state, count(*) FROM devices WHERE revoked_ms IS NULL GROUP BY state

-- name: meter_cameras
-- Cameras by their own last word.
SELECT c.state, count(*) FROM cameras c JOIN devices d USING (device)
WHERE d.revoked_ms IS NULL GROUP BY c.state

-- name: meter_rest
-- Sites, size of the database, hours whose minutes changed.
SELECT (SELECT count(*) FROM sites), pg_database_size(current_database()),
       (SELECT count(*) FROM rollup_dirty)
