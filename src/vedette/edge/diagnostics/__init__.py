"""What this device answers when somebody asks from afar how it is.

Where things are: `redaction` what leaves no answer · `tail` the last lines of the log ·
`effective` the configuration in effect · `network` the way to central · `examine` the doctor, in a
process of its own · `answering` which request is answered, when, and that it is sent once.

The rule: the site's policy decides which kinds are answered, no answer has pixels, secrets are
taken out here and not at central, and one answer at a time is made, with bounds on size and time.
"""
