-- In what light a device's cameras see, as of when a rollout first looked: part of its stratum.
ALTER TABLE rollout_devices
    ADD COLUMN light text;                              -- NULL: not looked at yet; '': not known
CREATE INDEX rollout_devices_unlit ON rollout_devices (rollout, device) WHERE light IS NULL;
