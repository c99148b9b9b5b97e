-- What a device did not have to download, because a difference to the version before was enough.
ALTER TABLE rollout_devices ADD COLUMN saved_bytes bigint NOT NULL DEFAULT 0;
