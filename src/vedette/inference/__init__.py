"""Running a model bundle: the bundle format, backends, the golden-frame check.

`model.Model` is the way in: `Model.load(bundle)` once, `detect(picture)` from as many threads as
one likes. Nothing here knows where pictures come from or what happens with detections.
"""
