"""Review: pictures on which a candidate and the model in use differ, one after the other."""
