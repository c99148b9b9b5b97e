-- Cloned devices: what is remembered of their lives, and what they sent meanwhile.

-- name: lives_set
-- What is remembered of one device's lives.
UPDATE devices SET lives = %(lives)s WHERE device = %(device)s

-- name: device_quarantine
-- From now on what it sends is kept and not counted.
UPDATE devices SET quarantined_ms = %(now_ms)s, quarantine = %(evidence)s
WHERE device = %(device)s AND quarantined_ms IS NULL

-- name: set_aside_copy
-- Messages of devices in quarantine, as they came.
COPY set_aside (device, copy, received_ms, made_ms, shift_ms, latest_ms, epoch, lane, seq, schema,
                boot_id, t_wall_ms, t_mono_ms, clock_state, body)
FROM STDIN (FORMAT BINARY)

-- name: set_aside_count
-- How much of a device was set aside.
UPDATE devices SET set_aside_bytes = set_aside_bytes + %(bytes)s WHERE device = %(device)s

-- name: quarantine_lock
-- A device as far as its quarantine goes, held.
SELECT device, site, quarantined_ms, quarantine, lives, set_aside_bytes, revoked_ms
FROM devices WHERE device = %(device)s FOR UPDATE

-- name: quarantine_end
-- It counts again; who was alive before is forgotten.
UPDATE devices SET quarantined_ms = NULL, quarantine = NULL, lives = %(lives)s
WHERE device = %(device)s

-- name: set_aside_take
-- Some messages that were set aside, oldest first, out of the way.
DELETE FROM set_aside WHERE number IN (
    SELECT number FROM set_aside WHERE device = %(device)s ORDER BY number LIMIT %(limit)s)
RETURNING number, copy, received_ms, made_ms, shift_ms, latest_ms, epoch, lane, seq, schema,
          boot_id, t_wall_ms, t_mono_ms, clock_state, body

-- name: set_aside_forget
-- Nothing is set aside any more.
UPDATE devices SET set_aside_bytes = 0 WHERE device = %(device)s
  AND NOT EXISTS (SELECT FROM set_aside WHERE device = %(device)s)

-- name: set_aside_drop
-- What was set aside is not wanted.
DELETE FROM set_aside WHERE device = %(device)s

-- name: set_aside_summary
-- What was set aside, by copy.
SELECT copy, count(*), sum(octet_length(body)), min(received_ms), max(received_ms) FROM set_aside
WHERE device = %(device)s GROUP BY copy ORDER BY copy

-- name: set_aside_expire
-- Nobody judged it in time.
WITH gone AS (
    DELETE FROM set_aside WHERE received_ms < %(before_ms)s RETURNING device, octet_length(body) AS n)
UPDATE devices d SET set_aside_bytes = greatest(0, d.set_aside_bytes - g.bytes)
FROM (SELECT device, sum(n) AS bytes FROM gone GROUP BY device) g WHERE g.device = d.device

-- name: quarantined_all
-- Devices in quarantine, or with messages that wait for a judgement.
SELECT device, site, quarantined_ms, quarantine, lives, set_aside_bytes, revoked_ms FROM devices
WHERE (quarantined_ms IS NOT NULL OR set_aside_bytes > 0)
  AND (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[])) AND device > %(after)s
ORDER BY device LIMIT %(limit)s
