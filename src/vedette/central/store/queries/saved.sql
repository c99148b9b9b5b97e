-- Saved views of the fleet page.

-- name: views_of
-- A user's own views and those that others share; which of them is the user's start page.
SELECT v.owner, v.name, v.query, v.shared, v.changed_ms, s.name IS NOT NULL AS is_start
FROM saved_views v
LEFT JOIN start_views s ON s.username = %(username)s AND s.owner = v.owner AND s.name = v.name
WHERE v.owner = %(username)s OR v.shared
ORDER BY v.owner <> %(username)s, v.name, v.owner

-- name: view_put
-- A new view, or another content of one.
INSERT INTO saved_views (owner, name, query, shared, changed_ms)
VALUES (%(owner)s, %(name)s, %(query)s, %(shared)s, %(now_ms)s)
ON CONFLICT (owner, name) DO UPDATE
SET query = excluded.query, shared = excluded.shared, changed_ms = excluded.changed_ms

-- name: view_drop
-- One view less.
DELETE FROM saved_views WHERE owner = %(owner)s AND name = %(name)s

-- name: views_unstart
-- Nobody but its owner begins with a view that is not shared any more.
DELETE FROM start_views WHERE owner = %(owner)s AND name = %(name)s AND username <> %(owner)s

-- name: view_start_put
-- Another start page.
INSERT INTO start_views (username, owner, name) VALUES (%(username)s, %(owner)s, %(name)s)
ON CONFLICT (username) DO UPDATE SET owner = excluded.owner, name = excluded.name

-- name: view_start_drop
-- The plain start page again.
DELETE FROM start_views WHERE username = %(username)s

-- name: view_owner_hold
-- A user, held, so that two cannot pass the limit of views together.
SELECT username FROM users WHERE username = %(username)s FOR UPDATE
