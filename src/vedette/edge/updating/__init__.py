"""Installs what central assigned: accepted, downloaded, proven, activated, watched, or taken back.

    accepting   which assignment and which of its items may be followed, and why not
    journal     what has been done so far, one file, durable before it counts
    machine     what is to be done next: pure
    windows     local times of day between which something may become active: pure
    download    a file in parts, bounded in size and time
    kinds       what a kind of artefact has to bring with it (`Installer`)
    model       the kind `models`; `trial` proves a bundle in a process of its own
    updater     does what the machine says
    app         the program: `app_file` what it comes in, `edge.install.launch` what goes back
    config      an overlay of a few fields (`edge.overlay`)
    system      images and packages: `adapters` and `packages` the tools, `door` and `signers` root
    fitting     which of these this device has; `proof` what each has to show
    archive     a tar with limits; `tool` another program, bounded

The rule: power may be cut between any two steps, and what runs afterwards is a version that worked.
"""
