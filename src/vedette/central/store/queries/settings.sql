-- People, their sessions and API tokens, as the settings pages show and end them.

-- name: people_all
-- Users with when they were last seen and what they hold open.
SELECT u.username, u.role, u.sites, u.folders, u.created_ms, u.disabled_ms,
       u.password_hash <> '' AS has_password, u.issuer,
       greatest(u.seen_ms, max(s.seen_ms)) AS seen_ms,
       count(s.kind) FILTER (WHERE s.kind = 'browser') AS sessions,
       count(s.kind) FILTER (WHERE s.kind = 'api') AS tokens,
       (SELECT max(t.expires_ms) FROM setup_tokens t
        WHERE t.username = u.username AND t.expires_ms > %(now_ms)s) AS link_until_ms
FROM users u LEFT JOIN sessions s ON s.username = u.username AND s.expires_ms > %(now_ms)s
WHERE %(username)s::text IS NULL OR u.username = %(username)s
GROUP BY u.username ORDER BY u.username LIMIT 2000

-- name: user_new
-- A new user without a password; none where the name is taken.
INSERT INTO users (username, password_hash, role, sites, created_ms)
VALUES (%(username)s, '', 'viewer', '{}', %(now_ms)s) ON CONFLICT DO NOTHING

-- name: user_enable
-- A user may sign in again.
UPDATE users SET disabled_ms = NULL WHERE username = %(username)s AND disabled_ms IS NOT NULL

-- name: user_delete
-- No such user, session, token or link any more.
DELETE FROM users WHERE username = %(username)s

-- name: user_forget_password
-- Nobody signs in with the present password any more.
UPDATE users SET password_hash = '' WHERE username = %(username)s

-- name: setup_drop
-- No one-time link of this user works any more.
DELETE FROM setup_tokens WHERE username = %(username)s

-- name: user_seen
-- A user was here.
UPDATE users SET seen_ms = %(now_ms)s WHERE username = %(username)s

-- name: sessions_shown
-- Sessions or API tokens that hold, of one user or of all, latest used first.
SELECT encode(substr(token_hash, 1, 8), 'hex') AS token, username, kind, label, address, agent,
       created_ms, seen_ms, expires_ms
FROM sessions
WHERE expires_ms > %(now_ms)s AND kind = %(kind)s
  AND (%(username)s::text IS NULL OR username = %(username)s)
ORDER BY seen_ms DESC, token_hash LIMIT %(limit)s

-- name: sessions_end_others
-- End a user's sessions or API tokens, but for one.
DELETE FROM sessions WHERE username = %(username)s AND kind = %(kind)s
  AND token_hash <> %(but_hash)s

-- name: audit_search
-- Entries of the audit log that filters leave, newest first.
SELECT number, at_ms, actor, action, target, detail, prev_hash, hash FROM audit_log
WHERE number < %(below)s
  AND (%(actor)s = '' OR actor = %(actor)s)
  AND (%(action)s = '' OR starts_with(action, %(action)s))
  AND (%(target)s = '' OR starts_with(target, %(target)s))
  AND (%(from_ms)s::bigint IS NULL OR at_ms >= %(from_ms)s)
  AND (%(to_ms)s::bigint IS NULL OR at_ms < %(to_ms)s)
ORDER BY number DESC LIMIT %(limit)s

-- name: audit_check_get
-- How far the chain was followed.
SELECT number, hash, whole_ms, checked_ms, broken FROM audit_checks

-- name: audit_check_put
-- Remember how far the chain was followed.
INSERT INTO audit_checks (number, hash, whole_ms, checked_ms, broken)
VALUES (%(number)s, %(hash)s, %(whole_ms)s, %(checked_ms)s, %(broken)s)
ON CONFLICT (one) DO UPDATE SET number = excluded.number, hash = excluded.hash,
    whole_ms = excluded.whole_ms, checked_ms = excluded.checked_ms, broken = excluded.broken

-- name: site_device_names
-- Devices of one site that are not revoked.
SELECT device FROM devices WHERE site = %(site)s AND revoked_ms IS NULL ORDER BY device LIMIT 200

-- name: relation_sizes
-- Every table of ours with its size, indexes and all, and about how many rows it has.
SELECT c.relname AS relation, pg_total_relation_size(c.oid) AS bytes,
       nullif(c.reltuples, -1)::bigint AS rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname

-- name: oldest_kept
-- The oldest that is kept of some families; each is the head of an index, camera by camera.
SELECT * FROM (
    SELECT 'minutes', (SELECT min(x.ms) FROM cameras c, LATERAL (
        SELECT start_ms AS ms FROM rollup_minute r
        WHERE r.device = c.device AND r.camera = c.camera ORDER BY start_ms LIMIT 1) x)
    UNION ALL SELECT 'hours', (SELECT min(x.ms) FROM cameras c, LATERAL (
        SELECT start_ms AS ms FROM rollup_hour r
        WHERE r.device = c.device AND r.camera = c.camera ORDER BY start_ms LIMIT 1) x)
    UNION ALL SELECT 'days', (SELECT min(x.ms) FROM cameras c, LATERAL (
        SELECT start_ms AS ms FROM rollup_day r
        WHERE r.device = c.device AND r.camera = c.camera ORDER BY start_ms LIMIT 1) x)
    UNION ALL SELECT 'events', (SELECT min(at_ms) FROM events)
    UNION ALL SELECT 'audit', (SELECT min(at_ms) FROM audit_log)
) AS found (family, oldest_ms) WHERE oldest_ms IS NOT NULL

-- name: stray_7
-- True where raw messages kept for 7 days lie in no day's partition.
SELECT EXISTS (SELECT FROM reports_7_other)

-- name: stray_90
-- True where raw messages kept for 90 days lie in no day's partition.
SELECT EXISTS (SELECT FROM reports_90_other)

-- name: table_sizes_last
-- When sizes were noted last.
SELECT max(day_ms) FROM table_sizes

-- name: table_sizes_put
-- How large a family is.
INSERT INTO table_sizes (day_ms, family, bytes) VALUES (%(day_ms)s, %(family)s, %(bytes)s)
ON CONFLICT (day_ms, family) DO UPDATE SET bytes = excluded.bytes

-- name: table_sizes_first
-- The first size of each family since a moment.
SELECT DISTINCT ON (family) family, day_ms, bytes FROM table_sizes
WHERE day_ms >= %(since_ms)s ORDER BY family, day_ms

-- name: table_sizes_expire
-- Forget sizes that are old.
DELETE FROM table_sizes WHERE day_ms < %(before_ms)s

-- name: job_run_put
-- What became of a job.
INSERT INTO job_runs (job, ended_ms, took_ms, failed_ms, why)
VALUES (%(job)s, %(ended_ms)s, %(took_ms)s, %(failed_ms)s, %(why)s)
ON CONFLICT (job) DO UPDATE SET ended_ms = coalesce(excluded.ended_ms, job_runs.ended_ms),
    took_ms = excluded.took_ms, failed_ms = coalesce(excluded.failed_ms, job_runs.failed_ms),
    why = CASE WHEN excluded.failed_ms IS NULL THEN job_runs.why ELSE excluded.why END

-- name: job_runs_all
-- What became of every job.
SELECT job, ended_ms, took_ms, failed_ms, why FROM job_runs ORDER BY job

-- name: backup_put
-- A backup was made.
INSERT INTO backups (made_ms, bytes) VALUES (%(made_ms)s, %(bytes)s) ON CONFLICT DO NOTHING

-- name: central_facts
-- What the database knows about central's condition.
SELECT current_setting('server_version') AS database,
       pg_database_size(current_database()) AS database_bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
       (SELECT max(last_contact_ms) FROM devices) AS contact_ms,
       (SELECT count(*) FROM rollup_dirty) AS unmerged,
       (SELECT min(greatest(marked_ms, hour_ms + 3600000)) FROM rollup_dirty
        WHERE hour_ms + 3600000 < %(now_ms)s) AS unmerged_since_ms,
       (SELECT max(made_ms) FROM backups) AS backup_ms,
       coalesce((SELECT bytes FROM backups ORDER BY made_ms DESC LIMIT 1), 0) AS backup_bytes

-- name: sign_in_put
-- A sign-in by a provider that began.
INSERT INTO sign_ins (state_hash, browser_hash, issuer, nonce, verifier, next_url, expires_ms)
VALUES (%(state_hash)s, %(browser_hash)s, %(issuer)s, %(nonce)s, %(verifier)s, %(next_url)s,
        %(expires_ms)s)

-- name: sign_in_take
-- The sign-in that began in this browser with this state; it is gone then.
DELETE FROM sign_ins WHERE state_hash = %(state_hash)s AND browser_hash = %(browser_hash)s
  AND expires_ms > %(now_ms)s RETURNING issuer, nonce, verifier, next_url

-- name: sign_ins_expire
-- Forget sign-ins whose time is over.
DELETE FROM sign_ins WHERE expires_ms <= %(now_ms)s

-- name: user_by_subject
-- Whom a provider calls so; held.
SELECT username, role, sites, folders, disabled_ms FROM users
WHERE issuer = %(issuer)s AND subject = %(subject)s AND issuer <> '' FOR UPDATE

-- name: user_set_subject
-- Who a user is at the provider.
UPDATE users SET issuer = %(issuer)s, subject = %(subject)s WHERE username = %(username)s

-- name: user_is_brought
-- True where a provider brought this user.
SELECT true FROM users WHERE username = %(username)s AND issuer <> ''
