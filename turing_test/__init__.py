"""The timed real-vs-fake test: a study on disk, its stimuli, its database, its page and its results.

Rooms, from the ground up. Each imports only from rooms before it in this list, and from ``evalkit`` and ``analysis``:

- ``study.texts``: every sentence of the page, a file per language
- ``study``: the study on disk: protocol, study file, manifest, freeze
- ``database``: tables and how they came to be, storage, statements prepared once
- ``stimuli``: from folders of images to sealed stimuli; audits
- ``sessions``: one participant: arrival, assignment, trials, flags, end
- ``results``: export and monitoring
- ``web``: the page, its addresses, the dashboard
- ``server``: what serves it; the doctor
- ``simulation``: observers who take the test over HTTP
- ``commands``: one module per command group; commands that run the other floors' commands
"""
