-- Operators: users, sessions, one-time links, and the audit log.

-- name: user_by_name
-- One user that is not disabled.
SELECT username, password_hash, role, sites FROM users
WHERE username = %(username)s AND disabled_ms IS NULL

-- name: users_all
-- Every user, disabled ones too.
SELECT username, password_hash, role, sites, folders, disabled_ms FROM users ORDER BY username

-- name: users_count
-- How many users can sign in.
SELECT count(*) FROM users WHERE disabled_ms IS NULL AND password_hash <> ''

-- name: user_put
-- A new user, or a changed role and scope.
INSERT INTO users (username, password_hash, role, sites, folders, created_ms)
VALUES (%(username)s, %(password_hash)s, %(role)s, %(sites)s, %(folders)s, %(now_ms)s)
ON CONFLICT (username) DO UPDATE SET role = excluded.role, sites = excluded.sites,
    folders = excluded.folders, disabled_ms = NULL

-- name: user_set_password
-- A new password.
UPDATE users SET password_hash = %(password_hash)s WHERE username = %(username)s

-- name: user_disable
-- Nobody signs in by this name any more.
UPDATE users SET disabled_ms = %(now_ms)s WHERE username = %(username)s AND disabled_ms IS NULL

-- name: setup_put
-- A one-time link.
INSERT INTO setup_tokens (token_hash, username, expires_ms)
VALUES (%(token_hash)s, %(username)s, %(expires_ms)s)

-- name: setup_peek
-- The user that a one-time link is for, while it can be used.
SELECT t.username FROM setup_tokens t JOIN users u USING (username)
WHERE t.token_hash = %(token_hash)s AND t.expires_ms > %(now_ms)s AND u.disabled_ms IS NULL

-- name: setup_take
-- Use a one-time link up, and every other of the same user.
WITH used AS (
    DELETE FROM setup_tokens t USING users u WHERE t.token_hash = %(token_hash)s
    AND t.expires_ms > %(now_ms)s AND u.username = t.username AND u.disabled_ms IS NULL
    RETURNING t.username),
others AS (DELETE FROM setup_tokens USING used WHERE setup_tokens.username = used.username
    AND setup_tokens.token_hash <> %(token_hash)s)
SELECT username FROM used

-- name: session_put
-- A new session or API token.
INSERT INTO sessions (token_hash, username, kind, label, csrf, created_ms, seen_ms, expires_ms,
                      address, agent)
VALUES (%(token_hash)s, %(username)s, %(kind)s, %(label)s, %(csrf)s, %(now_ms)s, %(now_ms)s,
        %(expires_ms)s, %(address)s, %(agent)s)

-- name: session_find
-- Who a session belongs to, while it holds.
SELECT s.username, u.role, s.kind, s.csrf, s.expires_ms, u.folders,
       -- who sees a folder sees the sites that lie in it at this moment
       CASE WHEN u.sites IS NULL THEN NULL ELSE ARRAY(
           SELECT unnest(u.sites) UNION
           SELECT t.site FROM unnest(u.folders) AS f (folder) JOIN sites t
           ON t.folder = f.folder OR starts_with(t.folder, f.folder || '/') ORDER BY 1) END AS sites
FROM sessions s JOIN users u USING (username)
WHERE s.token_hash = %(token_hash)s AND s.expires_ms > %(now_ms)s AND u.disabled_ms IS NULL

-- name: sessions_page
-- Sessions and API tokens that still hold, of one user or of all; `token` is the head of the hash.
SELECT * FROM (
    SELECT encode(substr(token_hash, 1, 8), 'hex') AS token, username, kind, label, created_ms,
           seen_ms, expires_ms FROM sessions
    WHERE expires_ms > %(now_ms)s AND (%(username)s::text IS NULL OR username = %(username)s)) s
WHERE (username, -created_ms, token) > (%(after_username)s, -%(after_ms)s::bigint, %(after_token)s)
ORDER BY username, -created_ms, token LIMIT %(limit)s

-- name: session_seen
-- A session was used; written at most once a minute.
UPDATE sessions SET seen_ms = %(now_ms)s
WHERE token_hash = %(token_hash)s AND seen_ms < %(now_ms)s - 60000

-- name: session_end_named
-- End one session or API token by the head of its hash; return whose it was.
DELETE FROM sessions WHERE encode(substr(token_hash, 1, 8), 'hex') = %(token)s
  AND (%(username)s::text IS NULL OR username = %(username)s) RETURNING username

-- name: sessions_end_all_of_user
-- End every session and every API token of one user.
DELETE FROM sessions WHERE username = %(username)s

-- name: user_is_there
-- True where this user is there and not disabled.
SELECT true FROM users WHERE username = %(username)s AND disabled_ms IS NULL

-- name: session_end
-- End one session.
DELETE FROM sessions WHERE token_hash = %(token_hash)s

-- name: sessions_end_of_user
-- End every browser session of one user.
DELETE FROM sessions WHERE username = %(username)s AND kind = 'browser'

-- name: audit_lock
-- Only one writer extends the chain at a time.
SELECT pg_advisory_xact_lock(7306371648193914114)

-- name: audit_head
-- The last link of the chain.
SELECT number, hash FROM audit_log ORDER BY number DESC LIMIT 1

-- name: audit_put
-- One more link.
INSERT INTO audit_log (number, at_ms, actor, action, target, detail, prev_hash, hash)
VALUES (%(number)s, %(at_ms)s, %(actor)s, %(action)s, %(target)s, %(detail)s, %(prev_hash)s, %(hash)s)

-- name: audit_page
-- Entries below a number, newest first.
SELECT number, at_ms, actor, action, target, detail, prev_hash, hash FROM audit_log
WHERE number < %(below)s ORDER BY number DESC LIMIT %(limit)s

-- name: audit_from
-- Entries from a number on, oldest first: for checking the chain.
SELECT number, at_ms, actor, action, target, detail, prev_hash, hash FROM audit_log
WHERE number >= %(first)s ORDER BY number LIMIT %(limit)s
