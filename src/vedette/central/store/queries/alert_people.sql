-- Who is told: who can be reached, who took over when.

-- name: alert_reach
-- Administrators of everything, people who are away, and channels with why they do not carry.
SELECT 'admin' AS what, username AS name, '' AS why FROM users
WHERE role = 'admin' AND sites IS NULL AND disabled_ms IS NULL
UNION ALL
SELECT 'away', username, 'disabled as a user' FROM users WHERE disabled_ms IS NOT NULL
UNION ALL
SELECT 'channel', channel,
       CASE WHEN kind = 's3' THEN %(no_notices)s WHEN enabled THEN ''
            ELSE coalesce(nullif(disabled_why, ''), 'switched off') END
FROM alert_channels ORDER BY what, name

-- name: channels_to_choose
-- What somebody may be reached by: whoever sees the whole fleet, any channel; others, those that
-- carry to people, whose names belong to no site.
SELECT channel FROM alert_channels
WHERE kind <> 's3' AND (%(all)s::boolean OR kind IN ('mail', 'apprise'))
ORDER BY channel

-- name: alert_overrides_of
-- Who takes over, in schedules (NULL: all), from a time on.
SELECT body FROM alert_overrides
WHERE to_ms > %(from_ms)s AND (%(schedule)s::text IS NULL OR schedule = %(schedule)s)
ORDER BY from_ms, override LIMIT %(limit)s

-- name: alert_override_hold
-- One of them, for as long as this transaction changes it.
SELECT body FROM alert_overrides WHERE override = %(override)s FOR UPDATE

-- name: alert_overrides_count
-- How many of a schedule are not over.
SELECT count(*) FROM alert_overrides WHERE schedule = %(schedule)s AND to_ms > %(now_ms)s

-- name: alert_override_put
-- A new one, or one that ends earlier.
INSERT INTO alert_overrides (override, schedule, person, from_ms, to_ms, body)
VALUES (%(override)s, %(schedule)s, %(person)s, %(from_ms)s, %(to_ms)s, %(body)s)
ON CONFLICT (override) DO UPDATE SET to_ms = excluded.to_ms, body = excluded.body

-- name: alert_override_drop
-- One that had not begun.
DELETE FROM alert_overrides WHERE override = %(override)s

-- name: alert_contacts_forget
-- Addresses of somebody who is no user any more, every version of them.
DELETE FROM alert_documents WHERE kind = 'contacts' AND name = %(username)s

-- name: alert_overrides_forget
-- What somebody who is no user any more would have taken over.
DELETE FROM alert_overrides WHERE person = %(username)s

-- name: alert_tests_count
-- How many tests went to somebody since then.
SELECT count(*) FROM deliveries
WHERE kind = 'test' AND person = %(person)s AND made_ms > %(since_ms)s
