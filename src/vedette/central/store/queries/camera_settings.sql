-- A camera's settings over time.

-- name: camera_settings_add
-- Another version of what a camera is to look for.
INSERT INTO camera_settings (device, camera, version, at_ms, actor, note, settings)
VALUES (%(device)s, %(camera)s, %(version)s, %(at_ms)s, %(actor)s, %(note)s, %(settings)s)
ON CONFLICT DO NOTHING

-- name: camera_settings_of
-- The versions of one camera's settings, newest first.
SELECT version, at_ms, actor, note, settings FROM camera_settings
WHERE device = %(device)s AND camera = %(camera)s AND version < %(below)s
ORDER BY version DESC LIMIT %(limit)s

-- name: camera_settings_newest
-- The version in which one camera's settings changed last.
SELECT max(version) FROM camera_settings WHERE device = %(device)s AND camera = %(camera)s

-- name: camera_settings_one
-- One version of one camera's settings.
SELECT version, at_ms, actor, note, settings FROM camera_settings
WHERE device = %(device)s AND camera = %(camera)s AND version = %(version)s

-- name: camera_settings_trim
-- Versions of one camera's settings beyond those that are kept.
DELETE FROM camera_settings
WHERE device = %(device)s AND camera = %(camera)s AND version <= (
    SELECT version FROM camera_settings WHERE device = %(device)s AND camera = %(camera)s
    ORDER BY version DESC OFFSET %(keep)s LIMIT 1)

-- name: camera_settings_device
-- The device that settings are followed to.
SELECT device, site, state, since_ms, last_contact_ms, version, hardware, clock_state, health,
       drained_to_ms, settings, settings_version, enrolled_ms, quarantined_ms
FROM devices WHERE device = %(device)s AND revoked_ms IS NULL
