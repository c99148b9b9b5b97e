-- How devices are: their own rows with keys and quarantine, and their health over a window.

-- name: machine_facts
-- One device with everything that is known about the machine itself, revoked ones too.
SELECT d.device, d.site, d.enrolled_ms, d.revoked_ms, d.revoked_reason, d.boot_id, d.version,
       d.hardware, d.clock_state, d.state, d.last_contact_ms, d.health, d.health_at_ms,
       d.drained_to_ms, d.key_since_ms, d.next_key_ms, d.rotate_asked_ms, d.quarantined_ms,
       d.quarantine, d.set_aside_bytes, d.settings_version, s.policy_version, s.site_keys_version,
       s.time_zone, s.name AS site_name, s.folder
FROM devices d JOIN sites s USING (site) WHERE d.device = %(device)s

-- name: machine_labels
-- The own labels of a device.
SELECT key, value FROM labels WHERE site = %(site)s AND device = %(device)s AND camera = ''
ORDER BY key

-- name: health_thinned
-- The last health report of a device within each step of a window.
SELECT DISTINCT ON (made_ms / %(step_ms)s) made_ms, body FROM reports
WHERE device = %(device)s AND schema = 'health.v1' AND outcome = 'accepted'
  AND received_ms >= %(from_ms)s AND made_ms >= %(from_ms)s AND made_ms < %(to_ms)s
ORDER BY made_ms / %(step_ms)s, made_ms DESC
