-- The repository of what may be installed.

-- name: releases_lock
-- One at a time changes what is published.
SELECT pg_advisory_xact_lock(7150021)

-- name: releases_current
-- Every root, and the newest of every other role.
SELECT role, version, body, expires_ms, received_ms, received_by FROM release_metadata
WHERE role = 'root'
   OR (role, version) IN (SELECT role, max(version) FROM release_metadata GROUP BY role)
ORDER BY role, version

-- name: release_newest
-- The newest metadata of a role.
SELECT role, version, body, expires_ms, received_ms, received_by FROM release_metadata
WHERE role = %(role)s ORDER BY version DESC LIMIT 1

-- name: release_one
-- One version of a role's metadata.
SELECT role, version, body, expires_ms, received_ms, received_by FROM release_metadata
WHERE role = %(role)s AND version = %(version)s

-- name: release_put
-- A version of a role's metadata; it never changes.
INSERT INTO release_metadata (role, version, body, expires_ms, received_ms, received_by)
VALUES (%(role)s, %(version)s, %(body)s, %(expires_ms)s, %(now_ms)s, %(actor)s)
ON CONFLICT (role, version) DO NOTHING

-- name: release_online_forget
-- Snapshots and timestamps that no device is in the middle of.
DELETE FROM release_metadata
WHERE role IN ('snapshot', 'timestamp') AND received_ms < %(before_ms)s AND version < (
    SELECT max(version) FROM release_metadata AS newer WHERE newer.role = release_metadata.role)

-- name: release_files_clear
-- Before they are put anew.
DELETE FROM release_files

-- name: release_file_put
-- A file that metadata names.
INSERT INTO release_files (path, sha256, bytes) VALUES (%(path)s, %(sha256)s, %(bytes)s)

-- name: release_files_all
-- Files that metadata names now.
SELECT path, sha256, bytes FROM release_files ORDER BY path

-- name: release_saved
-- What devices did not have to download, because a delta was enough.
SELECT count(*), coalesce(sum(saved_bytes), 0)::bigint FROM rollout_devices WHERE saved_bytes > 0

-- name: release_path
-- A file that metadata names now.
SELECT path, sha256, bytes FROM release_files WHERE path = %(path)s
