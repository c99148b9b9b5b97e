"""The device's own HTTP interface: still pictures in, a verdict out.

    POST /v1/assess    is this picture good enough? What should the person with the camera change?
    POST /v1/infer     the same, and what a model of this device makes of it; or: ask a person

Where things are: `stills` from bytes to a picture · `verdict` what follows, pure · `app` HTTP.
The process that serves it is `vedette edge serve`, beside the agent and never inside the pipeline:
pictures come from strangers, and a decoder that dies of one must not take the cameras along.

Needs the extra `local` (Starlette, uvicorn).
"""
