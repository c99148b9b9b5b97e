-- Questions that operators ask about a device, and their answers.

-- name: diagnostics_put
-- A question.
INSERT INTO requests (request, device, kind, camera, asked_by, asked_ms, expires_ms, lines,
                      with_cameras)
VALUES (%(request)s, %(device)s, %(kind)s, '', %(asked_by)s, %(now_ms)s, %(expires_ms)s, %(lines)s,
        %(with_cameras)s)

-- name: diagnostics_open_for
-- An open question of the same kind: asking twice is asking once.
SELECT request FROM requests
WHERE device = %(device)s AND kind = %(kind)s AND lines = %(lines)s
  AND with_cameras = %(with_cameras)s AND answered_ms IS NULL AND expires_ms > %(now_ms)s
ORDER BY asked_ms LIMIT 1

-- name: diagnostics_open_count
-- How many questions a device has not answered yet; clips have a bound of their own.
SELECT count(*) FROM requests
WHERE device = %(device)s AND kind NOT IN ('evidence', 'hold', 'release') AND answered_ms IS NULL AND expires_ms > %(now_ms)s

-- name: diagnostics_kind_open
-- The kind of an open question to this device; nothing where it was not asked or has answered.
SELECT kind FROM requests
WHERE request = %(request)s AND device = %(device)s AND answered_ms IS NULL
  AND expires_ms > %(now_ms)s

-- name: diagnostics_open_of_kind
-- True where this device has an open question of a kind.
SELECT true FROM requests
WHERE device = %(device)s AND kind = %(kind)s AND answered_ms IS NULL AND expires_ms > %(now_ms)s
LIMIT 1

-- name: diagnostics_answer
-- The answer, only where this device was asked this and has not answered.
UPDATE requests SET answered_ms = %(now_ms)s, answer = %(answer)s,
    content_type = %(content_type)s, refused = %(refused)s
WHERE request = %(request)s AND device = %(device)s AND kind = %(kind)s AND answered_ms IS NULL
  AND expires_ms > %(now_ms)s

-- name: diagnostics_page
-- Questions about a device, newest first.
SELECT request, device, kind, camera, asked_by, asked_ms, expires_ms, answered_ms, lines,
       with_cameras, content_type, refused, octet_length(answer) AS size_bytes
FROM requests
WHERE device = %(device)s AND kind NOT IN ('evidence', 'hold', 'release') AND (asked_ms, request) < (%(cursor_ms)s, %(cursor_request)s)
ORDER BY asked_ms DESC, request DESC LIMIT %(limit)s

-- name: diagnostics_one
-- One question about a device.
SELECT request, device, kind, camera, asked_by, asked_ms, expires_ms, answered_ms, lines,
       with_cameras, content_type, refused, octet_length(answer) AS size_bytes
FROM requests WHERE request = %(request)s AND device = %(device)s AND kind NOT IN ('evidence', 'hold', 'release')

-- name: diagnostics_body
-- The answer to one question.
SELECT answer FROM requests WHERE request = %(request)s AND device = %(device)s

-- name: diagnostics_newest_config
-- The newest configuration that a device told.
SELECT answered_ms, answer FROM requests
WHERE device = %(device)s AND kind = 'config' AND answered_ms IS NOT NULL AND refused = ''
ORDER BY answered_ms DESC LIMIT 1

-- name: diagnostics_device
-- The site of a device that may be asked.
SELECT site FROM devices WHERE device = %(device)s AND revoked_ms IS NULL

-- name: diagnostics_expire
-- Questions and answers without pixels that are old; a device that is away still learns of holds,
-- and what it said to one stays as long as the hold.
DELETE FROM requests r
WHERE kind NOT IN ('thumbnail', 'reference', 'kept') AND asked_ms < %(before_ms)s
  AND NOT (kind IN ('hold', 'release') AND (
      answered_ms IS NULL AND expires_ms > %(before_ms)s
      OR EXISTS (SELECT FROM evidence_holds h
                 WHERE h.device = r.device AND h.evidence = r.evidence)))

-- name: devices_page
-- Devices in scope by name, without their reports.
SELECT device, site, state, since_ms, last_contact_ms, version, hardware, clock_state,
       settings_version, enrolled_ms,
       coalesce((SELECT jsonb_object_agg(c.camera, c.detail) FROM cameras c
                 WHERE c.device = d.device AND c.state = 'down'), '{}') AS cameras_down
FROM devices d
WHERE (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[])) AND revoked_ms IS NULL
  AND (%(state)s = '' OR state = %(state)s) AND (%(version)s = '' OR version = %(version)s)
  AND (%(chosen)s::text[] IS NULL OR device = ANY(%(chosen)s::text[]))
  AND (site, device) > (%(after_site)s, %(after_device)s)
ORDER BY site, device LIMIT %(limit)s
