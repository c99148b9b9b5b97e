"""The life of a rollout in central: facts, the pure planner, and the jobs that carry it out."""
