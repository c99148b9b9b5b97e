-- Folders, labels, groups, opening hours, scopes: how a fleet is organised.

-- name: tree_sites
-- Sites in scope with all that places and names them; their own labels as pairs.
SELECT s.site, s.name, s.time_zone, s.folder, s.hours,
       coalesce((SELECT jsonb_object_agg(l.key, l.value) FROM labels l
                 WHERE l.site = s.site AND l.device = '' AND l.camera = ''), '{}') AS labels
FROM sites s
WHERE %(scope)s::text[] IS NULL OR s.site = ANY(%(scope)s::text[]) ORDER BY s.site

-- name: tree_devices
-- Devices in scope as far as a selection can ask for them; revoked ones only with the past.
SELECT device, site, CASE WHEN revoked_ms IS NULL THEN state ELSE 'revoked' END AS state,
       hardware, version FROM devices
WHERE (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]))
  AND (%(past)s OR revoked_ms IS NULL)
ORDER BY site, device

-- name: tree_cameras
-- Cameras in scope as far as a selection can ask for them; of revoked devices only with the past.
SELECT c.device, c.camera,
       CASE WHEN d.revoked_ms IS NOT NULL THEN 'revoked' WHEN d.state = 'dark' THEN 'dark'
            ELSE c.state END AS state,
       coalesce(i.make, '') AS make, coalesce(i.model, '') AS model,
       coalesce(i.firmware, '') AS firmware
FROM cameras c JOIN devices d USING (device)
LEFT JOIN LATERAL (
    SELECT make, model, firmware FROM camera_inventory i
    WHERE i.device = c.device AND i.camera = c.camera ORDER BY since_ms DESC LIMIT 1) i ON true
WHERE (%(scope)s::text[] IS NULL OR d.site = ANY(%(scope)s::text[]))
  AND (%(past)s OR d.revoked_ms IS NULL)
ORDER BY c.device, c.camera

-- name: tree_labels
-- Labels of devices and cameras in scope.
SELECT site, device, camera, key, value FROM labels
WHERE (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[])) AND device <> ''

-- name: labels_of
-- The own labels of one site, device or camera.
SELECT key, value FROM labels
WHERE site = %(site)s AND device = %(device)s AND camera = %(camera)s ORDER BY key

-- name: label_put
-- One label.
INSERT INTO labels (site, device, camera, key, value)
VALUES (%(site)s, %(device)s, %(camera)s, %(key)s, %(value)s)
ON CONFLICT (site, device, camera, key) DO UPDATE SET value = excluded.value

-- name: label_drop
-- One label less.
DELETE FROM labels
WHERE site = %(site)s AND device = %(device)s AND camera = %(camera)s AND key = %(key)s

-- name: tree_target
-- True where a site has this device, and the device this camera; empty names are not asked for.
SELECT true FROM sites s
WHERE s.site = %(site)s
  AND (%(device)s = '' OR EXISTS (
      SELECT FROM devices d WHERE d.device = %(device)s AND d.site = s.site
      AND d.revoked_ms IS NULL))
  AND (%(camera)s = '' OR EXISTS (
      SELECT FROM cameras c WHERE c.device = %(device)s AND c.camera = %(camera)s))

-- name: site_hold
-- One site's place, name, zone and hours, held until they are changed.
SELECT site, name, time_zone, folder, hours FROM sites WHERE site = %(site)s FOR UPDATE

-- name: site_change
-- Another place, name, zone or hours.
UPDATE sites SET name = %(name)s, time_zone = %(time_zone)s, folder = %(folder)s, hours = %(hours)s
WHERE site = %(site)s

-- name: sites_hold_below
-- The sites in a folder and below it, held.
SELECT site, folder FROM sites
WHERE folder = %(folder)s OR starts_with(folder, %(folder)s || '/') ORDER BY site FOR UPDATE

-- name: site_set_folder
-- Another folder for a site.
UPDATE sites SET folder = %(folder)s WHERE site = %(site)s

-- name: users_of_folders
-- Users whose scope names folders, held.
SELECT username, folders FROM users WHERE folders <> '{}' ORDER BY username FOR UPDATE

-- name: user_set_folders
-- Other folders in a user's scope.
UPDATE users SET folders = %(folders)s WHERE username = %(username)s

-- name: user_hold
-- One user's role and scope, held.
SELECT username, role, sites, folders, disabled_ms FROM users WHERE username = %(username)s
FOR UPDATE

-- name: admins_of_all
-- Administrators of the whole fleet; held, so that the last cannot go twice.
SELECT username, password_hash <> '' AS has_password FROM users
WHERE role = 'admin' AND sites IS NULL AND disabled_ms IS NULL
ORDER BY username FOR UPDATE

-- name: user_set_scope
-- Another role and scope.
UPDATE users SET role = %(role)s, sites = %(sites)s, folders = %(folders)s
WHERE username = %(username)s

-- name: selections_all
-- Every group.
SELECT name, expression, note, changed_ms, changed_by FROM selections ORDER BY name

-- name: selections_hold
-- Only one transaction changes groups at a time: each was checked against all others.
SELECT pg_advisory_xact_lock(7306371648193914135)

-- name: selection_put
-- A new group, or another expression for one.
INSERT INTO selections (name, expression, note, changed_ms, changed_by)
VALUES (%(name)s, %(expression)s, %(note)s, %(now_ms)s, %(actor)s)
ON CONFLICT (name) DO UPDATE SET expression = excluded.expression, note = excluded.note,
    changed_ms = excluded.changed_ms, changed_by = excluded.changed_by

-- name: selection_drop
-- One group less.
DELETE FROM selections WHERE name = %(name)s

-- name: device_taken
-- True where a device has or had this name.
SELECT EXISTS (SELECT FROM devices WHERE device = %(device)s)
